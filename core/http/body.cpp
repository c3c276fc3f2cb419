#include "http/body.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstdlib>

#include "base/completion.hpp"
#include "storage/durable_write.hpp"
#include "storage/file_descriptor.hpp"

namespace fused {
namespace asio = boost::asio;

class SpoolFile {
 public:
  SpoolFile(FileDescriptor file, std::shared_ptr<std::atomic<std::int64_t>> used)
      : file_(std::move(file)), used_(std::move(used)) {}
  ~SpoolFile() {
    if (map_) ::munmap(map_, size_);
    used_->fetch_sub(static_cast<std::int64_t>(size_));
  }
  SpoolFile(const SpoolFile&) = delete;
  SpoolFile& operator=(const SpoolFile&) = delete;

  void count(std::size_t bytes) {
    size_ += bytes;
    used_->fetch_add(static_cast<std::int64_t>(bytes));
  }
  // On the writer's thread.
  int write(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto done = ::write(file_.get(), bytes.data(), bytes.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) return errno;
      bytes.remove_prefix(static_cast<std::size_t>(done));
    }
    return 0;
  }
  Status map() {
    if (map_ || size_ == 0) return {};
    void* at = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file_.get(), 0);
    if (at == MAP_FAILED) return fail_errno("mmap of a request's body", errno);
    map_ = at;
    ::madvise(map_, size_, MADV_SEQUENTIAL);
    return {};
  }
  std::size_t size() const { return size_; }
  std::string_view view() const { return map_ ? std::string_view(static_cast<const char*>(map_), size_) : ""; }

 private:
  FileDescriptor file_;
  std::shared_ptr<std::atomic<std::int64_t>> used_;
  std::size_t size_ = 0;
  void* map_ = nullptr;
};

std::string_view Body::view() const { return file_ ? file_->view() : std::string_view(text_); }
std::size_t Body::size() const { return text_.size() + (file_ ? file_->size() : 0); }

BodySpool::BodySpool(std::filesystem::path folder, std::int64_t bytes_max)
    : folder_(std::move(folder)), bytes_max_(bytes_max) {}
BodySpool::~BodySpool() = default;

Result<std::shared_ptr<SpoolFile>> BodySpool::make_file() {
  FileDescriptor file(::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT || errno == EINVAL)) {
    // The next start removes what a server killed between the two calls has left.
    std::string name = (folder_ / (std::string(kTemporaryPrefix) + "body-XXXXXX")).string();
    file.reset(::mkostemp(name.data(), O_CLOEXEC));
    if (file) ::unlink(name.c_str());
  }
  if (!file) return fail_errno("cannot make a file for a large body in " + folder_.string(), errno);
  if (!writer_) writer_ = std::make_unique<asio::thread_pool>(1);
  return std::make_shared<SpoolFile>(std::move(file), used_);
}

asio::awaitable<Status> BodySpool::store(Body& body) {
  const std::size_t bytes = body.text_.size();
  if (bytes == 0) co_return Status();
  if (used_->load() + static_cast<std::int64_t>(bytes) > bytes_max_)
    co_return fail(ErrorKind::unavailable, "the bodies of all requests together may take " +
                                               std::to_string(bytes_max_) + " bytes of disk; try again");
  if (!body.file_) {
    auto made = make_file();
    if (!made) co_return std::unexpected(made.error());
    body.file_ = *std::move(made);
  }
  const auto executor = co_await asio::this_coro::executor;
  // On the heap and shared: the waiter may be destroyed with its io_context while the thread still writes.
  const auto done = std::make_shared<Completion<int>>();
  const auto file = body.file_;
  file->count(bytes);
  asio::post(*writer_, [executor, done, file, text = std::exchange(body.text_, {})] {
    const int problem = file->write(text);
    asio::post(executor, [done, problem] { done->set(problem); });
  });
  const int problem = co_await done->wait();
  if (problem == 0) co_return Status();
  const bool full = problem == ENOSPC || problem == EDQUOT || problem == EFBIG;
  if (full)
    co_return fail(ErrorKind::storage_full,
                   "the disk of the server's data folder has no room for this body; free some, or send less");
  co_return fail_errno("cannot write a large body", problem);
}

asio::awaitable<Status> BodySpool::finish(Body& body) {
  if (!body.file_) co_return Status();
  if (const Status stored = co_await store(body); !stored) co_return stored;
  co_return body.file_->map();
}

}  // namespace fused
