// The step in which readers see the new table.
#pragma once
#include <string>

#include "base/result.hpp"

namespace fused::ingest {

// `made` takes the place of `output` at once: both on one file system. What stood there (a table, or an empty folder)
// is then at `made`, for the caller to remove; true when there was something.
Result<bool> publish_folder(const std::string& made, const std::string& output);

}  // namespace fused::ingest
