#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include "cache/entry_format.hpp"
#include "storage/file_descriptor.hpp"

namespace fused {
namespace {

constexpr std::uint64_t kThreadBytesMin = 4 << 20;  // from here on check and writing go side by side
constexpr char kZeros[kEntryAlignment] = {};

std::unexpected<EntryError> failed(int error_number) {
  return std::unexpected(EntryError{EntryError::Kind::system, std::strerror(error_number), error_number});
}

std::string encode_head(const EntryFileHead& head) {
  std::string out(kEntryMagic);
  out.reserve(kEntryHeadBytes);
  const auto put = [&out](const auto& value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    out.append(bytes, sizeof value);
  };
  put(head.writer);
  put(head.check);
  put(head.kind);
  put(head.note_bytes);
  put(head.body_offset);
  put(head.body_bytes);
  put(head.created_ns);
  put(head.boot_ns);
  put(head.boot_id);
  put(head.max_age_s);
  put(head.computing_ns);
  put(std::uint64_t{0});
  put(head.key.bytes);
  put(head.body_check);
  return out;
}

// 0, or an errno.
int write_all(int file, std::span<const std::string_view> parts, std::uint64_t at) {
  std::vector<iovec> rest;
  rest.reserve(parts.size());
  for (const auto part : parts)
    if (!part.empty()) rest.push_back({const_cast<char*>(part.data()), part.size()});
  std::span<iovec> left(rest);
  while (!left.empty()) {
    const auto count = static_cast<int>(std::min<std::size_t>(left.size(), IOV_MAX));
    ssize_t written = ::pwritev(file, left.data(), count, static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : ENOSPC;
    at += static_cast<std::uint64_t>(written);
    while (!left.empty() && static_cast<std::size_t>(written) >= left.front().iov_len) {
      written -= static_cast<ssize_t>(left.front().iov_len);
      left = left.subspan(1);
    }
    if (written > 0) {
      left.front().iov_base = static_cast<char*>(left.front().iov_base) + written;
      left.front().iov_len -= static_cast<std::size_t>(written);
    }
  }
  return 0;
}

class Writing {
 public:
  Writing(const EntryWriting& to, EntryFileHead head, std::string_view note, std::span<const std::string_view> body)
      : to_(to), head_(head), body_(body) {
    head_.note_bytes = static_cast<std::uint32_t>(note.size());
    head_.body_offset = entry_body_offset(note.size());
    head_.body_bytes = 0;
    for (const auto part : body) head_.body_bytes += part.size();
    between_ = note;
    between_.append(kZeros, head_.body_offset - kEntryHeadBytes - note.size());
  }

  int into(int file) {
    if (to_.has_body_check || head_.body_bytes < kThreadBytesMin) {
      if (!to_.has_body_check) head_.body_check = body_check();
      return write_at_once(file);
    }
    // Room first: a disk that is full is known before the work, and the file lies in one piece.
    const auto bytes = static_cast<off_t>(head_.body_offset + head_.body_bytes);
    if (const int error = ::posix_fallocate(file, 0, bytes); error != 0 && error != EOPNOTSUPP && error != EINVAL)
      return error;
    std::thread beside;
    try {
      beside = std::thread([this] { head_.body_check = body_check(); });
    } catch (const std::system_error&) {  // no thread is to be had
      head_.body_check = body_check();
      return write_at_once(file);
    }
    int error = write_all(file, body_, head_.body_offset);
    beside.join();
    if (error == 0) {
      const std::string head = whole_head();
      const std::string_view front[] = {head, between_};
      error = write_all(file, front, 0);
    }
    return error;
  }

 private:
  CheckBytes body_check() const {
    RunningCheck check(head_.check, to_.check_key);
    for (const auto part : body_) check.add(part);
    return check.finish();
  }
  std::string whole_head() const {
    std::string out = encode_head(head_);
    const CheckBytes check = entry_head_check(head_.check, to_.check_key, out, between_);
    out.append(reinterpret_cast<const char*>(check.data()), check.size());
    return out;
  }
  int write_at_once(int file) const {
    const std::string head = whole_head();
    std::vector<std::string_view> parts{head, between_};
    parts.insert(parts.end(), body_.begin(), body_.end());
    return write_all(file, parts, 0);
  }

  const EntryWriting& to_;
  EntryFileHead head_;
  std::span<const std::string_view> body_;
  std::string between_;
};

}  // namespace

EntryResult<void> write_entry_file(const EntryWriting& to, EntryFileHead head, std::string_view note,
                                   std::span<const std::string_view> body) {
  if (note.size() > kEntryNoteBytesMax) return failed(EFBIG);
  if (head.check == EntryCheck::blake3 && to.check_key == nullptr) return failed(EINVAL);
  const std::string& name = to.draft.empty() ? to.path : to.draft;
  FileDescriptor file(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return failed(errno);
  int error = Writing(to, head, note, body).into(file.get());
  if (error == 0 && !to.draft.empty() && std::rename(name.c_str(), to.path.c_str()) != 0) error = errno;
  if (error == 0) return {};
  ::unlink(name.c_str());
  return failed(error);
}

}  // namespace fused
