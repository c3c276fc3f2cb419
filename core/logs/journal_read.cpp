// The reading half of the journal.
#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "logs/journal.hpp"

namespace fused {
namespace {

constexpr std::size_t kReadBytes = 256 << 10;

}  // namespace

bool Journal::begin_reading(const Segment& segment) {
  const auto path = path_of(segment.number);
  codes_.clear();
  buffer_.clear();
  buffer_from_ = 0;
  reading_ = {segment.number, 0};
  // A shortage is no damage: what cannot be opened now is read later, not given up.
  for (;; std::this_thread::sleep_for(std::chrono::milliseconds(100))) {
    reading_file_ = FileDescriptor(::openat(folder_.get(), path.filename().c_str(), O_RDONLY | O_CLOEXEC));
    if (reading_file_ || (errno != EMFILE && errno != ENFILE && errno != ENOMEM)) break;
  }
  if (!reading_file_ || !fill(segment, kSegmentHeadBytes)) {
    if (segment.end > 0) ++damaged_;
    return false;
  }
  auto key = decode_segment_head(buffer_);
  if (!key) {
    ++damaged_;
    spdlog::warn("log journal {} cannot be read and is kept aside as .damaged: {}", path.string(), key.error().message);
    std::error_code error;
    std::filesystem::rename(path, path.string() + ".damaged", error);
    return false;
  }
  reading_key_ = *key;
  reading_.offset = entry_from_ = kSegmentHeadBytes;
  return true;
}

// Makes at least `bytes` unread bytes available, as far as the segment has them.
bool Journal::fill(const Segment& segment, std::size_t bytes) {
  if (unread().size() >= bytes) return true;
  if (segment.end - reading_.offset < bytes) return false;
  std::string fresh(std::min<std::uint64_t>(std::max(bytes, kReadBytes), segment.end - reading_.offset), '\0');
  std::size_t have = 0;
  while (have < fresh.size()) {
    const ssize_t got = ::pread(reading_file_.get(), fresh.data() + have, fresh.size() - have,
                                static_cast<off_t>(reading_.offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    have += static_cast<std::size_t>(got);
  }
  fresh.resize(have);
  buffer_ = std::move(fresh);
  buffer_from_ = reading_.offset;
  return have >= bytes;
}

void Journal::skip_damage(const Segment& segment) {
  ++damaged_;
  fill(segment, segment.end - reading_.offset);
  const std::size_t next = find_next_frame(unread(), reading_key_);
  const std::uint64_t skipped = next == std::string_view::npos ? segment.end - reading_.offset : next;
  spdlog::warn("log journal {}: {} bytes from {} on are damaged and left out", path_of(segment.number).string(),
               skipped, reading_.offset);
  reading_.offset += skipped;
  if (reading_.offset > buffer_from_ + buffer_.size()) buffer_.clear(), buffer_from_ = reading_.offset;
}

std::unique_ptr<JournalEntry> Journal::read_frame(const Segment& segment) {
  fill(segment, kFrameOverheadBytes);
  std::size_t size = 0;
  auto frame = decode_frame(unread(), reading_key_, &size);
  if (!frame && size > unread().size() && fill(segment, size)) frame = decode_frame(unread(), reading_key_);
  if (!frame) {
    skip_damage(segment);
    return nullptr;
  }
  std::unique_ptr<JournalEntry> entry;
  const std::uint64_t end = reading_.offset + frame->size;
  if (frame->kind == JournalKind::code) {
    if (auto code = decode_code(frame->payload))
      codes_[code->number] = std::make_shared<const JournalCode>(std::move(*code));
  } else if (frame->kind == JournalKind::run) {
    if (auto run = decode_run(frame->payload)) {
      const auto code = codes_.find(run->code_number);
      entry = std::make_unique<JournalEntry>(JournalEntry{std::move(*run),
                                                          code == codes_.end() ? nullptr : code->second,
                                                          {segment.number, end},
                                                          end - entry_from_,
                                                          segment.replayed});
      entry_from_ = end;
    }
  }
  reading_.offset = end;
  return entry;
}

std::unique_ptr<JournalEntry> Journal::next() {
  for (;;) {
    Segment segment;
    {
      const std::lock_guard lock(mutex_);
      if (segments_.empty()) return nullptr;
      segment = segments_.front();
    }
    bool readable = true;
    if (reading_.segment != segment.number) readable = begin_reading(segment);
    while (readable && reading_.offset < segment.end)
      if (auto entry = read_frame(segment)) return entry;
    const std::lock_guard lock(mutex_);
    if (segments_.front().end > segment.end || !segments_.front().closed) {
      if (segments_.front().end > segment.end) continue;
      return nullptr;
    }
    if (!readable) reading_ = {segment.number, segment.end};
    if (segment.replayed) --replay_segments_;
    read_segments_.push_back(segment.number);
    segments_.pop_front();
  }
}

void Journal::delete_read(bool writer_is_gone) {
  if (writer_is_gone) {
    const std::lock_guard lock(mutex_);
    if (segments_.size() == 1 && reading_.segment == segments_.front().number &&
        reading_.offset == segments_.front().end) {
      read_segments_.push_back(segments_.front().number);
      segments_.clear();
    }
  }
  for (const std::uint64_t number : read_segments_) {
    const auto path = path_of(number);
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (!error) bytes_on_disk_ -= std::min<std::uint64_t>(size, bytes_on_disk_);
    if (::unlinkat(folder_.get(), path.filename().c_str(), 0) != 0 && errno != ENOENT)
      spdlog::warn("cannot delete the log journal {}: {}", path.string(), std::strerror(errno));
  }
  read_segments_.clear();
}

JournalPosition Journal::read_up_to() const { return reading_; }

JournalCounts Journal::counts() const { return {bytes_on_disk_, damaged_, replay_segments_}; }

}  // namespace fused
