#include "batch/batch_results.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/completion.hpp"
#include "storage/durable_write.hpp"

namespace fused {
namespace asio = boost::asio;
namespace {

constexpr std::uint64_t kLeftFreeBytes = 64 << 20;
constexpr std::uint64_t kLeftFreeShare = 50;  // of a small disk a fiftieth

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Results may not take the last of the disk, which the state database needs to go on.
bool has_room(int file, std::size_t bytes) {
  struct statvfs disk{};
  if (::fstatvfs(file, &disk) != 0) return true;
  const std::uint64_t left = std::min<std::uint64_t>(kLeftFreeBytes, disk.f_blocks * disk.f_frsize / kLeftFreeShare);
  return disk.f_bavail * disk.f_frsize > left + bytes;
}

int write_all(int file, std::string_view bytes, std::int64_t at) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(file, bytes.data(), bytes.size(), at);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return errno;
    bytes.remove_prefix(static_cast<std::size_t>(done));
    at += done;
  }
  return 0;
}

int read_all(int file, std::string& into, std::int64_t at) {
  for (std::size_t have = 0; have < into.size();) {
    const ssize_t done = ::pread(file, into.data() + have, into.size() - have, at + static_cast<std::int64_t>(have));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return done < 0 ? errno : EIO;
    have += static_cast<std::size_t>(done);
  }
  return 0;
}

}  // namespace

void BatchResults::add(const EndedCall& call, const ArgumentDigest& arguments, std::string_view record) {
  if (calls_.empty()) first_unsealed_ = std::chrono::steady_clock::now();
  calls_.push_back(call);
  lengths_.push_back(static_cast<std::uint32_t>(record.size()));
  digests_.push_back(arguments);
  records_ += record;
  if (records_.size() >= kChunkBytes || calls_.size() >= kChunkCalls) seal();
}

void BatchResults::seal() {
  if (calls_.empty()) return;
  const std::size_t n = calls_.size();
  std::string out;
  out.reserve(ResultChunk::kHeadBytes + n * (ResultChunk::kCallBytes + ResultChunk::kDigestBytes) + records_.size());
  out += ResultChunk::kMagic;
  put(out, static_cast<std::uint32_t>(n));
  put(out, static_cast<std::uint64_t>(records_.size()));
  for (const auto& call : calls_) put(out, call.started);
  for (const auto& call : calls_) put(out, call.seconds);
  for (const auto& call : calls_) put(out, call.index);
  for (const auto length : lengths_) put(out, length);
  for (const auto& call : calls_) put(out, call.attempts);
  for (const auto& call : calls_) put(out, static_cast<std::uint8_t>(call.status));
  out += records_;
  Chunk chunk{{}, out.size(), out.size() + n * sizeof(ArgumentDigest), static_cast<std::int64_t>(bytes_), false};
  out.append(reinterpret_cast<const char*>(digests_.data()), n * sizeof(ArgumentDigest));
  bytes_ += out.size();
  unwritten_ += out.size();
  chunk.bytes = Bytes::of(std::move(out));
  chunks_.push_back(std::move(chunk));
  calls_.clear();
  lengths_.clear();
  digests_.clear();
  if (records_.capacity() > 4 * kChunkBytes)
    std::string().swap(records_);
  else
    records_.clear();
  write(chunks_.size() - 1);
}

Result<int> BatchResults::file() {
  if (file_) return file_->get();
  FileDescriptor made(::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!made && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT || errno == EINVAL)) {
    // The next start removes what a server killed between the two calls has left.
    std::string name = (folder_ / (std::string(kTemporaryPrefix) + "batch-XXXXXX")).string();
    made.reset(::mkostemp(name.data(), O_CLOEXEC));
    if (made) ::unlink(name.c_str());
  }
  if (!made) return fail_errno("cannot make a file for the results of a batch in " + folder_.string(), errno);
  file_ = std::make_shared<FileDescriptor>(std::move(made));
  return file_->get();
}

void BatchResults::write(std::uint64_t number) {
  if (const auto place = file(); !place) {
    trouble_ = place.error().message;
    return written(number, EIO);
  }
  asio::post(
      disk_, [self = shared_from_this(), number, file = file_, bytes = chunks_[number].bytes, at = chunks_[number].at] {
        const int problem = has_room(file->get(), bytes.view.size()) ? write_all(file->get(), bytes.view, at) : ENOSPC;
        asio::post(self->io_, [self, number, problem] { self->written(number, problem); });
      });
}

void BatchResults::written(std::uint64_t number, int problem) {
  Chunk& chunk = chunks_[number];
  unwritten_ -= chunk.bytes.view.size();
  if (problem != 0) {
    if (trouble_.empty())
      trouble_ = std::string("the results of the batch cannot be kept on the server's disk: ") + std::strerror(problem);
  } else {
    chunk.written = true;
    if (number < acknowledged_ || in_memory_ + chunk.bytes.view.size() > kMemoryBytes)
      chunk.bytes = {};
    else
      in_memory_ += chunk.bytes.view.size();
  }
  if (unwritten_ == 0)
    for (const auto& waiter : std::exchange(waiting_, {})) waiter();
  if (on_written) on_written();
}

void BatchResults::acknowledge(std::uint64_t chunks) {
  for (; acknowledged_ < std::min<std::uint64_t>(chunks, chunks_.size()); ++acknowledged_) {
    Chunk& chunk = chunks_[acknowledged_];
    if (!chunk.written || chunk.bytes.view.empty()) continue;
    in_memory_ -= chunk.bytes.view.size();
    chunk.bytes = {};
  }
}

asio::awaitable<Result<Bytes>> BatchResults::chunk(std::uint64_t number, bool with_digests) {
  const auto self = shared_from_this();
  const Chunk& chunk = chunks_[number];
  const std::size_t size = with_digests ? chunk.stored : chunk.sent;
  if (!chunk.bytes.view.empty()) co_return Bytes{chunk.bytes.owner, chunk.bytes.view.substr(0, size)};
  const auto text = std::make_shared<std::string>(size, '\0');
  const auto done = std::make_shared<Completion<int>>();
  asio::post(disk_, [self, text, done, file = file_, at = chunk.at] {
    const int problem = read_all(file->get(), *text, at);
    asio::post(self->io_, [done, problem] { done->set(problem); });
  });
  if (const int problem = co_await done->wait(); problem != 0)
    co_return fail_errno("cannot read back the results of a batch", problem);
  co_return Bytes{text, *text};
}

asio::awaitable<Result<int>> BatchResults::whole_file() {
  const auto self = shared_from_this();
  if (unwritten_ > 0) {
    const auto done = std::make_shared<Completion<bool>>();
    waiting_.push_back([done] { done->set(true); });
    (void)co_await done->wait();
  }
  if (!trouble_.empty()) co_return fail(ErrorKind::storage_full, trouble_);
  co_return file();
}

}  // namespace fused
