// Files to read: on disk, or an S3 object by its URL.
#pragma once
#include <arrow/io/interfaces.h>

#include <memory>
#include <string>

#include "base/result.hpp"

namespace fused::ingest {

// A path, or a URL without what may hold keys: user and query.
std::string shown_place(const std::string& path);

// not_found when there is none. Arrow's own reader, safe for use by several threads.
Result<std::shared_ptr<arrow::io::RandomAccessFile>> open_file(const std::string& path);

}  // namespace fused::ingest
