#include "batch/group.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>

namespace fused {
namespace {

constexpr std::size_t kReadBytes = 1 << 20;
constexpr std::int64_t kTrimBytes = 4 << 20;
constexpr std::size_t kPageBytes = 4'096;

Result<FileDescriptor> memory(const char* name, bool append) {
  FileDescriptor place(::memfd_create(name, MFD_CLOEXEC));
  if (!place) return fail_errno("memfd_create", errno);
  if (append && ::fcntl(place.get(), F_SETFL, O_APPEND) != 0) return fail_errno("fcntl(O_APPEND)", errno);
  return place;
}

std::int64_t size_of(int place) {
  struct stat info{};
  return ::fstat(place, &info) == 0 ? info.st_size : 0;
}

void give_back(int place, std::int64_t from, std::int64_t to) {
  if (to > from) ::fallocate(place, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, to - from);
}

std::string read_at(int place, std::int64_t from, std::size_t bytes) {
  std::string text(bytes, '\0');
  const ssize_t done = ::pread(place, text.data(), bytes, from);
  text.resize(done > 0 ? static_cast<std::size_t>(done) : 0);
  return text;
}

// All, or head and tail with the number of bytes between: as record.py cuts.
std::string cut(int place, std::int64_t from, std::int64_t end) {
  end = std::max(from, end);
  constexpr std::int64_t kMax = kCallStreamBytesMax, kHalf = kMax / 2;
  if (end - from <= kMax) return read_at(place, from, static_cast<std::size_t>(end - from));
  return read_at(place, from, kHalf) + "\n… " + std::to_string(end - from - kMax) + " bytes left out …\n" +
         read_at(place, end - kHalf, kHalf);
}

// The frames of our own worker say nothing to the function's author.
std::string frames_of_functions(std::string_view lines) {
  std::string kept;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size() - 1) + 1;
    if (lines.substr(0, end).find("/fused/_worker/") == std::string_view::npos) kept += lines.substr(0, end);
    lines.remove_prefix(end);
  }
  return kept;
}

// One token, if there is one. Whether the description blocks is the function's to change: it shares it.
bool take_token(int tokens) {
  std::uint64_t token = 0;
  iovec place{&token, sizeof token};
  return ::preadv2(tokens, &place, 1, -1, RWF_NOWAIT) == sizeof token;
}

bool is_status_of_worker(CallStatus status) {
  return status == CallStatus::success || status == CallStatus::error || status == CallStatus::timeout;
}

}  // namespace

Result<std::shared_ptr<Group>> Group::open(Fill fill, std::int64_t result_bytes_max) {
  auto group = std::make_shared<Group>();
  group->fill_ = std::move(fill);
  // An error's text and both streams have bounds of their own in the worker.
  group->record_bytes_max_ = result_bytes_max + (4 << 20);
  group->out_ = FUSED_TRY(memory("stdout", true));
  group->err_ = FUSED_TRY(memory("stderr", true));
  group->records_ = FUSED_TRY(memory("records", true));
  group->progress_ = FUSED_TRY(memory("progress", false));
  if (::ftruncate(group->progress_.get(), kPageBytes) != 0) return fail_errno("ftruncate of a memory file", errno);
  group->tokens_.reset(::eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC));
  if (!group->tokens_) return fail_errno("eventfd", errno);
  return group;
}

CallGroup::Given Group::give() {
  parts_ = fill_();
  given_at_ = collected_at_ = std::chrono::steady_clock::now();
  Given given;
  for (const auto& part : parts_) given.calls += part.count;
  calls_ = given.calls;
  const bool rows = !parts_.empty() && parts_.front().piece->has_rows();
  std::string& body = given.body;
  body = rows ? "{\"rows\":" : "{\"columns\":{";
  const std::size_t columns = parts_.empty() ? 0 : parts_.front().piece->columns();
  for (std::size_t column = 0; column < columns; ++column) {
    if (column) body += ',';
    if (!rows) body.append(parts_.front().piece->name(column)) += ':';
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      body += i ? ',' : '[';
      body += parts_[i].piece->values(column, parts_[i].position, parts_[i].count);
    }
    body += ']';
  }
  body += rows ? "}" : "}}";
  const std::uint64_t tokens = given.calls;
  if (tokens > 0) (void)!::write(tokens_.get(), &tokens, sizeof tokens);
  given.descriptors = {out_.get(), err_.get(), records_.get(), progress_.get(), tokens_.get()};
  return given;
}

Group::Progress Group::progress() const {
  char bytes[kProgressBytes] = {};
  if (::pread(progress_.get(), bytes, sizeof bytes, 0) != sizeof bytes) return {};
  Progress progress{number_in<double>(bytes), number_in<std::int64_t>(bytes + 8), number_in<std::int64_t>(bytes + 16)};
  if (!std::isfinite(progress.began) || progress.began < 0 || progress.began > 1e10) progress.began = 0;
  progress.out_at = std::max<std::int64_t>(progress.out_at, 0);
  progress.err_at = std::max<std::int64_t>(progress.err_at, 0);
  return progress;
}

// steady_clock and Python's time.monotonic are one clock here (CLOCK_MONOTONIC). The function can write what it likes
// there and gains no time: a call begins at the latest when the records of the ones before it are read, which is done
// every 20 ms.
SteadyTime Group::running_since() {
  const Progress running = progress();
  if (running.began == 0 || ended_ == calls_) return collected_at_;
  const SteadyTime began{
      std::chrono::duration_cast<SteadyTime::duration>(std::chrono::duration<double>(running.began))};
  return std::min(began, collected_at_);
}

Status Group::collect(const Take& take) {
  const std::size_t before = ended_;
  Status read = collect_records(take);
  if (ended_ > before) collected_at_ = std::chrono::steady_clock::now();
  return read;
}

Status Group::collect_records(const Take& take) {
  while (ended_ < calls_) {
    const std::int64_t available = size_of(records_.get()) - read_at_;
    if (available < static_cast<std::int64_t>(kEndedHeadBytes)) return {};
    std::size_t want = static_cast<std::size_t>(std::min<std::int64_t>(available, kReadBytes));
    if (buffer_.size() < want) buffer_.resize(want);
    const ssize_t have = ::pread(records_.get(), buffer_.data(), want, read_at_);
    if (have < static_cast<ssize_t>(kEndedHeadBytes)) return {};
    std::string_view bytes(buffer_.data(), static_cast<std::size_t>(have));
    std::size_t used = 0;
    while (ended_ < calls_ && bytes.size() - used >= kEndedHeadBytes) {
      const EndedHead head = ended_head(bytes.data() + used);
      if (head.bytes > static_cast<std::uint64_t>(record_bytes_max_) || !is_status_of_worker(head.status))
        return fail(ErrorKind::internal, "the worker wrote something that is no record of a call");
      std::string large;
      std::string_view record = bytes.substr(used + kEndedHeadBytes);
      if (record.size() < head.bytes) {
        if (used > 0) break;  // it begins the next buffer
        if (available < static_cast<std::int64_t>(kEndedHeadBytes + head.bytes)) return {};
        large = read_at(records_.get(), read_at_ + static_cast<std::int64_t>(kEndedHeadBytes), head.bytes);
        if (large.size() < head.bytes) return {};
        record = large;
      }
      record = record.substr(0, head.bytes);
      const auto parsed = CallRecord::of(record);
      if (!parsed || (parsed->kind != 'w' && parsed->kind != 'e') ||
          (parsed->kind == 'w') != (head.status == CallStatus::success))
        return fail(ErrorKind::internal, "the worker wrote something that is no record of a call");
      const CallRange call = next();
      ++ended_;
      if (++part_offset_ == parts_[part_].count) ++part_, part_offset_ = 0;
      used += kEndedHeadBytes + head.bytes;
      take(call, head, record);
      if (!large.empty()) break;
    }
    read_at_ += static_cast<std::int64_t>(used);
    if (used == 0) return {};
  }
  return {};
}

void Group::ending() {
  if (err_end_ < 0) err_end_ = size_of(err_.get());
  take_back();
}

void Group::take_back() {
  const std::size_t most = calls_ - ended_;  // the function may have added tokens
  std::size_t back = 0;
  while (back < most && take_token(tokens_.get())) ++back;
  calls_ -= back;
  std::vector<CallRange> found;
  while (back > 0) {
    CallRange& last = parts_.back();
    const auto number = static_cast<std::uint32_t>(std::min<std::size_t>(back, last.count));
    found.push_back(last.part(last.count - number, number));
    last.count -= number;
    if (last.count == 0) parts_.pop_back();
    back -= number;
  }
  returned_.insert(returned_.begin(), found.rbegin(), found.rend());
}

CallRange Group::next() const { return parts_[part_].part(part_offset_, 1); }

std::vector<CallRange> Group::unfinished() const {
  std::vector<CallRange> found;
  std::uint32_t from = part_offset_;
  for (std::size_t i = part_; i < parts_.size(); ++i, from = 0)
    if (parts_[i].count > from) found.push_back(parts_[i].part(from, parts_[i].count - from));
  return found;
}

Group::Cut Group::cut_running() const {
  const Progress running = progress();
  const std::int64_t err_size = size_of(err_.get());
  const std::int64_t err_end = err_end_ < 0 ? err_size : std::min(err_end_, err_size);
  Cut streams{cut(out_.get(), running.out_at, size_of(out_.get())), cut(err_.get(), running.err_at, err_end),
              frames_of_functions(cut(err_.get(), err_end, err_size)), 0};
  const double now = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  if (running.began > 0) streams.seconds = std::max(0.0, now - running.began);
  return streams;
}

void Group::trim() {
  if (read_at_ - trimmed_ > kTrimBytes) give_back(records_.get(), std::exchange(trimmed_, read_at_), read_at_);
  const Progress running = progress();
  constexpr std::int64_t kHalf = kCallStreamBytesMax / 2;
  for (const auto& [place, from] : {std::pair(out_.get(), running.out_at), std::pair(err_.get(), running.err_at)}) {
    const std::int64_t end = size_of(place);
    if (from > kTrimBytes) give_back(place, 0, std::min(from, end));
    if (end - from > kTrimBytes) give_back(place, from + kHalf, end - kHalf);
  }
}

}  // namespace fused
