#include "ingest/write/target.hpp"

#include <arrow/filesystem/filesystem.h>
#include <arrow/io/buffered.h>
#include <arrow/io/file.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "ingest/read/files.hpp"
#include "result/frame.hpp"

namespace fused::ingest {
namespace {

constexpr std::int64_t kBufferBytes = 512 << 10;

std::unexpected<Error> write_failed(const std::string& path, int error_number) {
  if (error_number == ENOSPC || error_number == EDQUOT)
    return fail(ErrorKind::storage_full, "the disk is full: writing " + path);
  return fail_errno("writing " + path, error_number);
}

Status sync_path(const std::string& path, int flags) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  if (fd < 0) return write_failed(path, errno);
  const int outcome = fsync(fd);
  const int error_number = errno;
  close(fd);
  if (outcome != 0) return write_failed(path, error_number);
  return {};
}

class FolderFile : public TargetFile {
 public:
  FolderFile(std::string folder, std::string name, std::shared_ptr<arrow::io::FileOutputStream> file,
             std::shared_ptr<arrow::io::BufferedOutputStream> stream)
      : folder_(std::move(folder)), name_(std::move(name)), file_(std::move(file)), stream_(std::move(stream)) {}
  ~FolderFile() override {
    if (finished_) return;
    (void)stream_->Abort();  // else it would try to write what it holds
    unlink(temporary().c_str());
  }
  std::shared_ptr<arrow::io::OutputStream> stream() override { return stream_; }
  void begin_sync() override {
    sync_file_range(file_->file_descriptor(), 0, 0, SYNC_FILE_RANGE_WRITE);  // a hint; the fsync below is what counts
  }
  Status finish() override {
    bytes_ = stream_->Tell().ValueOr(0);
    FUSED_ARROW_CHECK("writing " + temporary(), stream_->Flush());
    if (fsync(file_->file_descriptor()) != 0) return write_failed(temporary(), errno);
    FUSED_ARROW_CHECK("writing " + temporary(), stream_->Close());
    const std::string path = folder_ + '/' + name_;
    if (rename(temporary().c_str(), path.c_str()) != 0) return write_failed(path, errno);
    finished_ = true;
    return sync_path(folder_, O_DIRECTORY);
  }
  std::int64_t bytes() const override { return bytes_; }

 private:
  std::string temporary() const { return folder_ + "/.writing-" + name_; }
  std::string folder_, name_;
  std::shared_ptr<arrow::io::FileOutputStream> file_;
  std::shared_ptr<arrow::io::BufferedOutputStream> stream_;  // pages are small
  std::int64_t bytes_ = 0;
  bool finished_ = false;
};

class FolderTarget : public Target {
 public:
  explicit FolderTarget(std::string folder) : folder_(std::move(folder)) {}
  Result<std::unique_ptr<TargetFile>> create(const std::string& name) override {
    const std::string path = folder_ + "/.writing-" + name;
    auto file = FUSED_ARROW_TRY("making " + path, arrow::io::FileOutputStream::Open(path));
    auto stream = FUSED_ARROW_TRY(
        "making " + path, arrow::io::BufferedOutputStream::Create(kBufferBytes, arrow::default_memory_pool(), file));
    return std::make_unique<FolderFile>(folder_, name, std::move(file), std::move(stream));
  }

 private:
  std::string folder_;
};

class ObjectFile : public TargetFile {
 public:
  ObjectFile(std::string name, std::shared_ptr<arrow::io::OutputStream> stream)
      : name_(std::move(name)), stream_(std::move(stream)) {}
  ~ObjectFile() override {
    if (!finished_) (void)stream_->Abort();  // the multipart upload, not its parts so far as an object
  }
  std::shared_ptr<arrow::io::OutputStream> stream() override { return stream_; }
  void begin_sync() override {}
  Status finish() override {
    bytes_ = stream_->Tell().ValueOr(0);
    FUSED_ARROW_CHECK("uploading " + name_, stream_->Close());
    finished_ = true;
    return {};
  }
  std::int64_t bytes() const override { return bytes_; }

 private:
  std::string name_;
  std::shared_ptr<arrow::io::OutputStream> stream_;
  std::int64_t bytes_ = 0;
  bool finished_ = false;
};

class ObjectTarget : public Target {
 public:
  ObjectTarget(std::shared_ptr<arrow::fs::FileSystem> system, std::string prefix)
      : system_(std::move(system)), prefix_(std::move(prefix)) {}
  Result<std::unique_ptr<TargetFile>> create(const std::string& name) override {
    auto stream = FUSED_ARROW_TRY("uploading " + name, system_->OpenOutputStream(prefix_ + '/' + name));
    return std::make_unique<ObjectFile>(name, std::move(stream));
  }

 private:
  std::shared_ptr<arrow::fs::FileSystem> system_;
  std::string prefix_;
};

}  // namespace

Status Target::put(const std::string& name, std::string_view bytes) {
  const auto file = FUSED_TRY(create(name));
  FUSED_ARROW_CHECK("writing " + name, file->stream()->Write(bytes.data(), static_cast<std::int64_t>(bytes.size())));
  return file->finish();
}

Error storage_error(Error error) {
  // Arrow keeps the errno's text in what becomes the detail.
  const auto says = [text = error.message + error.detail](std::string_view what) {
    return text.find(what) != std::string::npos;
  };
  if (error.kind == ErrorKind::storage_full) return error;
  if (says("No space left on device") || says("quota exceeded"))
    return {ErrorKind::storage_full, "the disk is full: " + error.message, error.detail};
  if (error.kind == ErrorKind::unprocessable && (says("[errno ") || says("AWS Error")))
    error.kind = ErrorKind::unavailable;
  return error;
}

std::unique_ptr<Target> folder_target(std::string folder) { return std::make_unique<FolderTarget>(std::move(folder)); }

Result<std::unique_ptr<Target>> object_target(const std::string& url) {
  std::string prefix;
  auto system = FUSED_ARROW_TRY(shown_place(url), arrow::fs::FileSystemFromUri(url, &prefix));
  while (prefix.ends_with('/')) prefix.pop_back();
  return std::make_unique<ObjectTarget>(std::move(system), std::move(prefix));
}

}  // namespace fused::ingest
