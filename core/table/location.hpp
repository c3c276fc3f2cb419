// Where a table lies: a folder of the disk (absolute or relative path, file://) or a prefix in S3 (s3://bucket/…).
#pragma once
#include <arrow/filesystem/filesystem.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace fused {

struct Location {
  std::shared_ptr<arrow::fs::FileSystem> files;
  std::string folder;  // inside `files`, without a slash at its end
  std::string url;     // as it was given, without /_sample, /_metadata and slashes at its end
  std::string shown;   // the same for messages: without what may hold keys (user, options)
  bool local = true;

  std::string path(std::string_view name) const { return folder + '/' + std::string(name); }
};

// invalid_argument for an empty URL and other schemes. An `s3://` URL may carry Arrow's options
// (?endpoint_override=host:port&scheme=http&region=…), and keys before the bucket (key:secret@); without them
// AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and their like count. The S3 library is loaded with the first such URL. Blocks
// only for that.
Result<Location> locate(std::string_view url);

// What changes when the file does: time, size and inode of a local file, the ETag of an object. not_found when there is
// none. Blocks for a stat or one request.
Result<std::string> file_version(const Location& location, std::string_view name);

// The whole file. too_large beyond `bytes_max`, not_found.
Result<std::string> read_whole(const Location& location, std::string_view name, std::int64_t bytes_max);

// An arrow failure of files as ours: not_found, forbidden by its text, else unavailable.
Error from_files(const arrow::Status& status, std::string_view doing);

}  // namespace fused
