#include "ingest/read/files.hpp"

#include <arrow/filesystem/filesystem.h>
#include <arrow/io/file.h>

#include "result/frame.hpp"

namespace fused::ingest {

std::string shown_place(const std::string& path) {
  const std::size_t scheme = path.find("://");
  if (scheme == std::string::npos) return path;
  const std::string rest = path.substr(scheme + 3, path.find('?') - scheme - 3);
  const std::size_t user = rest.rfind('@');
  return path.substr(0, scheme + 3) + (user == std::string::npos ? rest : rest.substr(user + 1));
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> open_file(const std::string& path) {
  if (path.find("://") == std::string::npos)
    return std::shared_ptr<arrow::io::RandomAccessFile>(FUSED_ARROW_TRY(path, arrow::io::ReadableFile::Open(path)));
  std::string key;
  const auto system = FUSED_ARROW_TRY(shown_place(path), arrow::fs::FileSystemFromUri(path, &key));
  return FUSED_ARROW_TRY(shown_place(path), system->OpenInputFile(key));
}

}  // namespace fused::ingest
