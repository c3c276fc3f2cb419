// What a killed ingest has finished, and how the next one (--resume) finds it: a file `done/{number}` in the staging
// folder for each data file that is whole, under the fingerprint of options and inputs.
#pragma once
#include <map>

#include "ingest/options.hpp"
#include "ingest/write/write_files.hpp"

namespace fused::ingest {

inline constexpr const char* kRowsFile = "rows";  // the scratch file, when it has a name

// Nothing unless options.resume.
Result<std::map<std::uint32_t, WriteJob::Done>> finished_files(const Options& options);
Status remember_file(const Options& options, std::uint32_t file, const WriteJob::Done& done);

}  // namespace fused::ingest
