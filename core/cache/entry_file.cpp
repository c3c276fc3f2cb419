#include "cache/entry_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <new>

#include "cache/entry_format.hpp"
#include "cache/process_tables.hpp"
#include "storage/file_descriptor.hpp"

namespace fused {
namespace {

// @fused.cache's entries and the server's large bodies, as both were before they shared this form.
constexpr std::string_view kOlderMagics[] = {"FUSEDFC1", "FUSEDLB1"};
constexpr std::int64_t kSettledNs = 20'000'000;           // two ticks of the kernel's slowest clock for file times
constexpr std::int64_t kSettledCoarseNs = 2'000'000'000;  // where file times are whole milliseconds or seconds
static_assert(std::endian::native == std::endian::little, "heads are read as they lie in memory");

template <class T>
T get_at(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::unexpected<EntryError> damaged(std::string message) {
  return std::unexpected(EntryError{EntryError::Kind::damaged, std::move(message), 0});
}
std::unexpected<EntryError> system_error(int error_number) {
  const auto kind = error_number == ENOENT ? EntryError::Kind::missing : EntryError::Kind::system;
  return std::unexpected(EntryError{kind, std::strerror(error_number), error_number});
}

std::int64_t nanoseconds(const timespec& time) { return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

EntryResult<void> check_head(const EntryFileHead& head, std::string_view file, EntryCheck kind, const CheckKey* key) {
  if (head.check != kind) return damaged("its check is not one of its owner's");
  if (kind == EntryCheck::blake3 && key == nullptr) return damaged("its check needs its owner's key");
  const auto between = file.substr(kEntryHeadBytes, head.body_offset - kEntryHeadBytes);
  if (!same_check(entry_head_check(kind, key, file, between), get_at<CheckBytes>(file, kEntryHeadCheckAt)))
    return damaged("its header is damaged, or somebody else's");
  return {};
}

bool read_all(int file, char* to, std::size_t bytes) {
  std::size_t got = 0;
  while (got < bytes) {
    const ssize_t count = ::pread(file, to + got, bytes - got, static_cast<off_t>(got));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    got += static_cast<std::size_t>(count);
  }
  return true;
}

struct Contents {
  std::shared_ptr<void> owner;
  char* data = nullptr;
};

EntryResult<Contents> read_whole(int file, std::size_t size) {
  constexpr std::align_val_t kAlignment{kEntryAlignment};
  const std::shared_ptr<void> owner(::operator new(size, kAlignment),
                                    [](void* at) { ::operator delete(at, kAlignment); });
  Contents contents{owner, static_cast<char*>(owner.get())};
  if (!read_all(file, contents.data, size)) return damaged("it was cut while it was read");
  return contents;
}

EntryResult<Contents> map(int file, std::size_t size, bool writable) {
  void* at = ::mmap(nullptr, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_PRIVATE, file, 0);
  if (at == MAP_FAILED) return system_error(errno);
  return Contents{std::shared_ptr<void>(at, [size](void* mapped) { ::munmap(mapped, size); }), static_cast<char*>(at)};
}

// The pages of a private mapping that hold the first `bytes` are copied now: who changes the file changes them no more.
void make_own(char* data, std::size_t bytes) {
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  for (std::size_t at = 0; at < bytes; at += page) {
    volatile char* const first = data + at;
    *first = *first;
  }
}

CheckBytes check_over(const EntryFileHead& head, const CheckKey* key, std::string_view bytes) {
  RunningCheck check(head.check, key);
  check.add(bytes);
  return check.finish();
}

bool is_older(std::string_view bytes) {
  for (const auto magic : kOlderMagics)
    if (bytes.starts_with(magic)) return true;
  return false;
}

// A regular file, opened, and what it is; links are not followed and nothing is waited for.
EntryResult<FileDescriptor> open_regular(const std::string& path, struct stat& found) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file && errno == ELOOP) return damaged("it is a link");
  if (!file || ::fstat(file.get(), &found) != 0) return system_error(errno);
  if (!S_ISREG(found.st_mode)) return damaged("it is no file");
  return file;
}

}  // namespace

FileState state_of(const struct stat& found) {
  return {found.st_dev, found.st_ino, found.st_size, nanoseconds(found.st_mtim), nanoseconds(found.st_ctim)};
}

bool FileState::is_settled() const {
  const std::int64_t newest = std::max(mtime_ns, ctime_ns);
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return nanoseconds(now) - newest > (newest % 1'000'000 != 0 ? kSettledNs : kSettledCoarseNs);
}

std::size_t VerifiedFiles::Hash::operator()(const FileState& state) const {
  return static_cast<std::size_t>(state.inode * 0x9e3779b97f4a7c15ull ^ static_cast<std::uint64_t>(state.ctime_ns));
}

std::optional<CheckBytes> VerifiedFiles::find(const FileState& state) const {
  const std::lock_guard lock(process_tables_mutex());
  const auto found = seen_.find(state);
  return found == seen_.end() ? std::nullopt : std::optional(found->second);
}

void VerifiedFiles::add(const FileState& state, const CheckBytes& own) {
  if (!state.is_settled()) return;
  const std::lock_guard lock(process_tables_mutex());
  if (!seen_.emplace(state, own).second) return;
  order_.push_back(state);
  while (order_.size() > kCountMax) {
    seen_.erase(order_.front());
    order_.pop_front();
  }
}

EntryResult<EntryFileHead> parse_entry_head(std::string_view bytes, std::uint64_t file_bytes) {
  if (is_older(bytes))
    return std::unexpected(EntryError{EntryError::Kind::older, "it is an entry of an earlier format", 0});
  if (bytes.size() < kEntryHeadBytes || !bytes.starts_with(kEntryMagic)) return damaged("it is no entry");
  EntryFileHead head;
  head.writer = get_at<EntryWriter>(bytes, 8);
  head.check = get_at<EntryCheck>(bytes, 12);
  head.kind = get_at<std::uint32_t>(bytes, 16);
  head.note_bytes = get_at<std::uint32_t>(bytes, 20);
  head.body_offset = get_at<std::uint64_t>(bytes, 24);
  head.body_bytes = get_at<std::uint64_t>(bytes, 32);
  head.created_ns = get_at<std::int64_t>(bytes, 40);
  head.boot_ns = get_at<std::int64_t>(bytes, 48);
  head.boot_id = get_at<std::array<unsigned char, 16>>(bytes, 56);
  head.max_age_s = get_at<std::uint64_t>(bytes, 72);
  head.computing_ns = get_at<std::uint64_t>(bytes, 80);
  head.key.bytes = get_at<std::array<unsigned char, 32>>(bytes, 96);
  head.body_check = get_at<CheckBytes>(bytes, 128);
  if ((head.writer != EntryWriter::function_cache && head.writer != EntryWriter::result_cache) ||
      (head.check != EntryCheck::blake3 && head.check != EntryCheck::xxh3) || head.note_bytes > kEntryNoteBytesMax ||
      head.body_offset != entry_body_offset(head.note_bytes))
    return damaged("its header is damaged");
  if (file_bytes < head.body_offset || file_bytes - head.body_offset != head.body_bytes)
    return damaged("it has " + std::to_string(file_bytes) + " bytes, and its header says another number");
  return head;
}

EntryResult<EntryFile> read_entry_file(const std::string& path, const EntryReading& how) {
  struct stat found{};
  const auto file = open_regular(path, found);
  if (!file) return std::unexpected(file.error());
  const auto size = static_cast<std::size_t>(found.st_size);
  if (size < kEntryHeadBytes) return damaged("it is no entry");
  const bool mapped = size > how.read_whole_max;
  auto contents = mapped ? map(file->get(), size, how.writable) : read_whole(file->get(), size);
  if (!contents) return std::unexpected(std::move(contents).error());
  char* const data = contents->data;
  const bool owns = mapped && how.writable;
  if (owns) make_own(data, kEntryHeadBytes);
  const std::string_view all(data, size);
  const auto head = parse_entry_head(all, size);
  if (!head) return std::unexpected(head.error());
  if (owns) make_own(data, head->body_offset);
  if (const auto checked = check_head(*head, all, how.check, how.check_key); !checked)
    return std::unexpected(checked.error());
  if (how.key != nullptr && head->key != *how.key) return damaged("it was copied from another key");
  const std::string_view body = all.substr(head->body_offset);
  const std::size_t own = owns && how.own_bytes ? std::min(how.own_bytes(head->kind, body), body.size()) : 0;
  if (own > 0) {
    make_own(data, head->body_offset + own);
    if (how.own_bytes(head->kind, body) != own) return damaged("it was changed while it was read");
  }
  const FileState state = state_of(found);
  const CheckBytes own_check = own > 0 ? check_over(*head, how.check_key, body.substr(0, own)) : CheckBytes{};
  const auto seen = mapped && how.verified != nullptr ? how.verified->find(state) : std::nullopt;
  if (!seen || !same_check(*seen, own_check)) {
    if (!same_check(check_over(*head, how.check_key, body), head->body_check))
      return damaged("its content is damaged, or somebody else's");
    if (mapped && how.verified != nullptr) how.verified->add(state, own_check);
  }
  return EntryFile{*head, all.substr(kEntryHeadBytes, head->note_bytes),
                   std::span(contents->data + head->body_offset, head->body_bytes), std::move(contents->owner), state};
}

EntryResult<EntrySummary> look_at_entry_file(const std::string& path) {
  struct stat found{};
  const auto file = open_regular(path, found);
  if (!file) return std::unexpected(file.error());
  std::string bytes(std::min<std::size_t>(kEntryHeadBytes, static_cast<std::size_t>(found.st_size)), '\0');
  if (!read_all(file->get(), bytes.data(), bytes.size())) return damaged("it was cut while it was read");
  const auto head = parse_entry_head(bytes, static_cast<std::uint64_t>(found.st_size));
  if (!head && head.error().kind == EntryError::Kind::older)
    return EntrySummary{std::nullopt, {}, state_of(found), nanoseconds(found.st_atim)};
  if (!head) return std::unexpected(head.error());
  bytes.resize(head->body_offset);
  if (!read_all(file->get(), bytes.data(), bytes.size())) return damaged("it was cut while it was read");
  if (head->check == EntryCheck::xxh3)
    if (const auto checked = check_head(*head, bytes, EntryCheck::xxh3, nullptr); !checked)
      return std::unexpected(checked.error());
  return EntrySummary{*head, bytes.substr(kEntryHeadBytes, head->note_bytes), state_of(found),
                      nanoseconds(found.st_atim)};
}

}  // namespace fused
