// The two JSON files of a run's folder, one key a line. The same record always gives the same bytes: replay tells by
// them whether a folder is already in place.
#pragma once
#include <string>

#include "logs/journal_format.hpp"

namespace fused {

// metadata.json: the seed's user_email, udf_name, collection_name, execution_time_seconds (never null), then ours
// (docs/reference/files-on-disk.md lists them).
std::string metadata_json(const JournalRun& run);
// udf.json: the seed's "code", then name, entrypoint and headers.
std::string udf_json(const JournalCode& code);

}  // namespace fused
