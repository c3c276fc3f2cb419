// Where the table's files go: a folder that takes its place in one step, or S3, where `_sample` comes last.
#pragma once
#include <arrow/io/interfaces.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace fused::ingest {

// A file that is being written; nothing has its name before it is whole.
class TargetFile {
 public:
  virtual ~TargetFile() = default;
  virtual std::shared_ptr<arrow::io::OutputStream> stream() = 0;
  virtual void begin_sync() = 0;  // what was written so far may start towards the disk
  virtual Status finish() = 0;    // whole and safe
  virtual std::int64_t bytes() const = 0;
};

class Target {
 public:
  virtual ~Target() = default;
  virtual Result<std::unique_ptr<TargetFile>> create(const std::string& name) = 0;
  Status put(const std::string& name, std::string_view bytes);
};

// What a library said about a write as people need it: a full disk is storage_full, whatever called it. Errors of
// the input keep their kind.
Error storage_error(Error error);

// `folder` exists. Temporary names, fsync, rename, within it.
std::unique_ptr<Target> folder_target(std::string folder);
// `url` is s3://bucket/prefix with the options Arrow knows. The upload of a file that is not finished is aborted.
Result<std::unique_ptr<Target>> object_target(const std::string& url);

}  // namespace fused::ingest
