// The appending half of the journal.
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/ids.hpp"
#include "logs/journal.hpp"

namespace fused {
namespace {

constexpr std::string_view kSuffix = ".journal";
constexpr std::size_t kBufferKept = 1 << 20;

std::uint64_t number_of(const std::string& name) {
  std::uint64_t number = 0;
  if (!name.ends_with(kSuffix)) return 0;
  const char* end = name.data() + name.size() - kSuffix.size();
  const auto parsed = std::from_chars(name.data(), end, number);
  return parsed.ec == std::errc() && parsed.ptr == end ? number : 0;
}

void shrink(std::string& buffer) {
  if (buffer.capacity() > kBufferKept) std::string().swap(buffer);
}

}  // namespace

std::filesystem::path Journal::path_of(std::uint64_t number) const {
  std::string digits = std::to_string(number);
  digits.insert(0, digits.size() < 10 ? 10 - digits.size() : 0, '0');
  return options_.folder / (digits + std::string(kSuffix));
}

Journal::Journal(JournalOptions options) : options_(std::move(options)) {
  // A segment is deleted only after its successor began: several must fit.
  options_.segment_bytes = std::min(options_.segment_bytes, options_.bytes_max / 4);
}

Result<std::unique_ptr<Journal>> Journal::open(JournalOptions options) {
  std::error_code error;
  std::filesystem::create_directories(options.folder, error);
  if (error) return fail_errno("cannot make the journal folder " + options.folder.string(), error.value());
  auto journal = std::unique_ptr<Journal>(new Journal(std::move(options)));
  journal->folder_ = FileDescriptor(::open(journal->options_.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!journal->folder_)
    return fail_errno("cannot open the journal folder " + journal->options_.folder.string(), errno);
  FUSED_CHECK(journal->list_segments());
  return journal;
}

Status Journal::list_segments() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(options_.folder, error)) {
    const std::uint64_t number = number_of(entry.path().filename().string());
    if (number == 0) continue;
    const auto size = std::filesystem::file_size(entry.path(), error);
    if (error) return fail_errno("cannot read " + entry.path().string(), error.value());
    segments_.push_back({number, size, true, true});
    bytes_on_disk_ += size;
    next_number_ = std::max(next_number_, number + 1);
  }
  if (error) return fail_errno("cannot list " + options_.folder.string(), error.value());
  std::sort(segments_.begin(), segments_.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
  replay_segments_ = segments_.size();
  return {};
}

Status Journal::begin_segment() {
  const auto path = path_of(next_number_);
  FileDescriptor file(::openat(folder_.get(), path.filename().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return fail_errno("cannot make " + path.string(), errno);
  randombytes_buf(writing_key_.data(), writing_key_.size());
  const std::string head = encode_segment_head(writing_key_);
  if (::pwrite(file.get(), head.data(), head.size(), 0) != static_cast<ssize_t>(head.size())) {
    const int error = errno ? errno : ENOSPC;
    ::unlinkat(folder_.get(), path.filename().c_str(), 0);
    return fail_errno("cannot write " + path.string(), error);
  }
  const std::lock_guard lock(mutex_);
  if (writing_ && !segments_.empty()) segments_.back().closed = true;
  segments_.push_back({next_number_, head.size(), false, false});
  writing_ = std::move(file);
  writing_end_ = head.size();
  bytes_on_disk_ += head.size();
  written_codes_.clear();
  ++next_number_;
  return {};
}

std::uint32_t Journal::code_number(const RunRecord& record) {
  static const std::string kNone;
  const std::string& code = record.code ? *record.code : kNone;
  std::string key = record.code_hash.empty() ? sha256_hex(code) : record.code_hash;
  key.append(1, '\0').append(record.udf_name).append(1, '\0').append(record.entrypoint);
  const auto known = written_codes_.find(key);
  if (known != written_codes_.end()) return known->second;
  JournalCode snapshot{
      static_cast<std::uint32_t>(written_codes_.size()),         key, record.udf_name, record.entrypoint, code,
      record.headers_json ? *record.headers_json : std::string()};
  encode_code(code_frame_, writing_key_, snapshot);
  new_code_key_ = std::move(key);
  return snapshot.number;
}

Status Journal::write_all(std::string_view first, std::string_view second) {
  std::uint64_t at = writing_end_;
  while (!first.empty() || !second.empty()) {
    const iovec parts[2] = {{const_cast<char*>(first.data()), first.size()},
                            {const_cast<char*>(second.data()), second.size()}};
    const ssize_t written = ::pwritev(writing_.get(), parts, 2, static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int error = written < 0 ? errno : ENOSPC;
      // What stands there now would look like a torn end; without this the next record would lie over its middle.
      if (::ftruncate(writing_.get(), static_cast<off_t>(writing_end_)) != 0) writing_end_ = UINT64_MAX;
      return fail_errno("cannot append to the journal in " + options_.folder.string(), error);
    }
    at += static_cast<std::uint64_t>(written);
    const std::size_t of_first = std::min<std::size_t>(first.size(), static_cast<std::size_t>(written));
    first.remove_prefix(of_first);
    second.remove_prefix(static_cast<std::size_t>(written) - of_first);
  }
  return {};
}

Result<std::uint64_t> Journal::append(const RunRecord& record, WallTime now) {
  if (bytes_on_disk_ > static_cast<std::uint64_t>(options_.bytes_max))
    return fail(ErrorKind::storage_full, "the journal in " + options_.folder.string() + " has reached its " +
                                             std::to_string(options_.bytes_max) + " bytes: folders cannot be made");
  if (!writing_ || writing_end_ >= static_cast<std::uint64_t>(options_.segment_bytes)) FUSED_CHECK(begin_segment());
  code_frame_.clear();
  const std::uint32_t number = code_number(record);
  encode_run(run_frame_, writing_key_, record, number, now);
  const std::uint64_t bytes = code_frame_.size() + run_frame_.size();
  if (std::max(code_frame_.size(), run_frame_.size()) > kFramePayloadBytesMax)
    return fail(ErrorKind::too_large, "a run's record of " + std::to_string(bytes) + " bytes is over the journal's " +
                                          std::to_string(kFramePayloadBytesMax));
  FUSED_CHECK(write_all(code_frame_, run_frame_));
  if (!code_frame_.empty()) written_codes_.emplace(std::move(new_code_key_), number);
  writing_end_ += bytes;
  bytes_on_disk_ += bytes;
  {
    const std::lock_guard lock(mutex_);
    segments_.back().end = writing_end_;
  }
  shrink(code_frame_);
  shrink(run_frame_);
  return bytes;
}

}  // namespace fused
