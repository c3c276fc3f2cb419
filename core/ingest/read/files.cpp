#include "ingest/read/files.hpp"

#include <arrow/filesystem/filesystem.h>
#include <arrow/io/file.h>

#include "result/frame.hpp"

namespace fused::ingest {

Result<std::shared_ptr<arrow::io::RandomAccessFile>> open_file(const std::string& path) {
  if (path.find("://") == std::string::npos)
    return std::shared_ptr<arrow::io::RandomAccessFile>(FUSED_ARROW_TRY(path, arrow::io::ReadableFile::Open(path)));
  std::string key;
  const auto system = FUSED_ARROW_TRY(path, arrow::fs::FileSystemFromUri(path, &key));
  return FUSED_ARROW_TRY(path, system->OpenInputFile(key));
}

}  // namespace fused::ingest
