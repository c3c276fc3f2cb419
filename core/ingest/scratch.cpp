#include "ingest/scratch.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

namespace fused::ingest {

Result<Scratch> Scratch::open(const std::string& folder, const std::string& name, std::int64_t bytes_max) {
  Scratch scratch;
  scratch.folder_ = folder;
  scratch.bytes_max_ = bytes_max;
  if (name.empty()) {
    scratch.fd_ = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (scratch.fd_ >= 0) return scratch;
    std::string path = folder + "/scratch-XXXXXX";  // file systems that know no nameless files
    scratch.fd_ = mkostemp(path.data(), O_CLOEXEC);
    if (scratch.fd_ >= 0) unlink(path.c_str());
  } else {
    scratch.fd_ = ::open((folder + '/' + name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  }
  if (scratch.fd_ < 0) return fail_errno("making a scratch file in " + folder, errno);
  return scratch;
}

Scratch::Scratch(Scratch&& other) noexcept { *this = std::move(other); }

Scratch& Scratch::operator=(Scratch&& other) noexcept {
  std::swap(fd_, other.fd_);
  bytes_max_ = other.bytes_max_;
  folder_ = other.folder_;
  end_ = other.end_.load();
  used_ = other.used_.load();
  used_max_ = other.used_max_.load();
  return *this;
}

Scratch::~Scratch() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::uint64_t> Scratch::append(std::span<const iovec> pieces) {
  std::uint64_t bytes = 0;
  for (const iovec& piece : pieces) bytes += piece.iov_len;
  const std::uint64_t at = end_.fetch_add(bytes);
  const std::int64_t used = used_.fetch_add(static_cast<std::int64_t>(bytes)) + static_cast<std::int64_t>(bytes);
  for (std::int64_t seen = used_max_; used > seen && !used_max_.compare_exchange_weak(seen, used);) {
  }
  if (used > bytes_max_)
    return fail(ErrorKind::storage_full, "the scratch file in " + folder_ + " would need more than the " +
                                             std::to_string(bytes_max_) +
                                             " bytes it may have; raise --scratch-limit, or --memory-limit");
  std::vector<iovec> rest(pieces.begin(), pieces.end());
  std::uint64_t position = at;
  for (std::size_t first = 0; first < rest.size();) {
    const ssize_t written =
        pwritev(fd_, rest.data() + first, static_cast<int>(rest.size() - first), static_cast<off_t>(position));
    if (written < 0) {
      if (errno == EINTR) continue;
      if (errno == ENOSPC || errno == EDQUOT)
        return fail(ErrorKind::storage_full,
                    "the disk of " + folder_ + " is full: the scratch file has " + std::to_string(position) + " bytes");
      return fail_errno("writing the scratch file in " + folder_, errno);
    }
    position += static_cast<std::uint64_t>(written);
    for (auto left = static_cast<std::size_t>(written); first < rest.size();) {
      iovec& piece = rest[first];
      const std::size_t now = std::min(left, piece.iov_len);
      piece.iov_base = static_cast<char*>(piece.iov_base) + now;
      piece.iov_len -= now;
      left -= now;
      if (piece.iov_len != 0) break;
      ++first;
    }
  }
  return at;
}

Status Scratch::read(std::uint64_t at, void* to, std::size_t bytes) const {
  auto* target = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t got = pread(fd_, target, bytes, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("reading the scratch file in " + folder_, errno);
    if (got == 0) return fail(ErrorKind::internal, "the scratch file in " + folder_ + " is shorter than it was");
    target += got;
    at += static_cast<std::uint64_t>(got);
    bytes -= static_cast<std::size_t>(got);
  }
  return {};
}

void Scratch::give_back(std::uint64_t at, std::uint64_t bytes) {
  fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at), static_cast<off_t>(bytes));
  used_ -= static_cast<std::int64_t>(bytes);
}

Status Scratch::sync() const {
  if (fdatasync(fd_) != 0) return fail_errno("syncing the scratch file in " + folder_, errno);
  return {};
}

}  // namespace fused::ingest
