// What goes when there is too much, and what moves so that a segment can go.
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include "cache/segments.hpp"

namespace fused {
namespace {

constexpr double kLiveShareMin = 0.4;    // a segment with less is rewritten even where there is room
constexpr double kKeptShareMax = 0.5;    // of a segment that goes under pressure
constexpr double kWorthOverAverage = 2;  // what an entry must be worth, against the average byte, to be kept then

}  // namespace

bool SegmentStore::is_pressed(const SegmentIndex::Totals& totals) const {
  if (totals.bytes > static_cast<std::uint64_t>(options_.bytes_max) || index_.size() > options_.entries_max)
    return true;
  struct statvfs disk{};
  if (::fstatvfs(folder_.get(), &disk) != 0) return false;
  const auto size = static_cast<std::int64_t>(disk.f_blocks) * static_cast<std::int64_t>(disk.f_frsize);
  const auto free = static_cast<std::int64_t>(disk.f_bavail) * static_cast<std::int64_t>(disk.f_frsize);
  return free < std::min(options_.free_bytes_min, size / 20);
}

SharedSegment SegmentStore::victim(bool pressed) const {
  SharedSegment chosen;
  double least = 0;
  for (const auto& segment : index_.segments()) {
    if (!segment->sealed) continue;
    const double live = index_.live_share(*segment);
    if (!pressed && live >= kLiveShareMin) continue;
    const double rank = pressed ? index_.density(*segment, now()) : live;
    if (!chosen || rank < least) {
      chosen = segment;
      least = rank;
    }
  }
  return chosen;
}

Result<bool> SegmentStore::tidy() {
  const bool pressed = is_pressed(index_.totals());
  SharedSegment segment = victim(pressed);
  if (!segment && pressed && writing_ && !writing_rows_.empty()) {
    (void)seal();
    segment = victim(true);
  }
  if (!segment) return false;
  auto done = compact(segment, pressed, false);
  if (done || done.error().kind != ErrorKind::storage_full) return done;
  // No room even to move what is worth it: the oldest goes as it is, since no mark in it hides anything.
  for (const auto& oldest : index_.segments())
    if (oldest->sealed) return compact(oldest, true, true);
  return done;
}

Status SegmentStore::keep(const RecordHead& head, std::string_view record, Position from) {
  RecordHead copy = head;
  // A body of its own name for the new record: the old one's may be removed with it.
  if (head.flags & kBodyInFile) {
    copy.file = head.file + 0x9e3779b97f4a7c15ull;
    std::error_code error;
    std::filesystem::create_directory(large_path(copy.file).parent_path(), error);
    std::filesystem::rename(large_path(head.file), large_path(copy.file), error);
    if (error) return fail_errno("cannot rename a large body", error.value());
  }
  const std::string_view meta = record.substr(kRecordHeadBytes, head.meta_bytes);
  const std::string_view body = record.substr(kRecordHeadBytes + head.meta_bytes);
  const bool in_file = head.flags & kBodyInFile;
  const auto to = write_record(copy, meta, in_file ? std::string_view{} : body.substr(0, head.body_bytes));
  if (!to) {
    if (in_file) remove_large(copy.file);
    return std::unexpected(to.error());
  }
  index_.move(head.key, from, *to);
  return {};
}

struct SegmentStore::Contents {
  struct Candidate {
    RecordHead head;
    std::uint32_t offset;
    double density;
    std::uint64_t bytes;
  };
  std::vector<Candidate> kept;
  std::vector<Candidate> dropped;
  std::vector<std::pair<std::uint32_t, Position>> group_marks;
  std::vector<std::pair<Digest, Position>> key_marks;
  std::vector<std::uint64_t> orphans;  // bodies of entries that are not current
};

SegmentStore::Contents SegmentStore::sort_out(const Segment& segment, std::string_view bytes, bool pressed,
                                              bool keep_none) {
  const auto totals = index_.totals();
  const double worth = kWorthOverAverage * totals.value / static_cast<double>(std::max<std::uint64_t>(1, totals.bytes));
  Contents contents;
  walk_records(bytes, segment.nonce, [&](const RecordHead& head, std::uint32_t offset) {
    const Position position{segment.number, offset};
    const Position hides_up_to = head.file ? Position::of(head.file) : position;
    if (head.flags & kGroupMark) contents.group_marks.emplace_back(head.group, hides_up_to);
    if (head.flags & kKeyMark) contents.key_marks.emplace_back(head.key, hides_up_to);
    if (head.is_mark()) return;
    const auto row = index_.row(head.key);
    if (!row || row->position != position) {
      index_.erase(head.key, position);  // invalidated: the row is still there
      if (head.flags & kBodyInFile) contents.orphans.push_back(head.file);
      return;
    }
    const Contents::Candidate candidate{head, offset, index_.density(*row, now()), row->bytes()};
    const bool stays = !keep_none && (!pressed || (candidate.density >= worth && row->expires > now()));
    (stays ? contents.kept : contents.dropped).push_back(candidate);
  });
  if (!pressed) return contents;
  auto& kept = contents.kept;
  std::ranges::sort(kept, [](const auto& a, const auto& b) { return a.density > b.density; });
  auto room = static_cast<std::uint64_t>(static_cast<double>(segment.bytes()) * kKeptShareMax);
  std::size_t count = 0;
  while (count < kept.size() && kept[count].bytes <= room) room -= kept[count++].bytes;
  contents.dropped.insert(contents.dropped.end(), kept.begin() + static_cast<std::ptrdiff_t>(count), kept.end());
  kept.resize(count);
  return contents;
}

// Marks hide what lies in older segments; where there is none left, they go.
Status SegmentStore::carry_marks(const Segment& segment, const Contents& contents) {
  std::uint32_t oldest = 0xffffffff;
  for (const auto& other : index_.segments())
    if (other->number != segment.number) oldest = std::min(oldest, other->number);
  RecordHead mark;
  mark.flags = kGroupMark;
  const auto needed = index_.group_marks(oldest);
  for (const auto& found : contents.group_marks) {
    if (std::ranges::find(needed, found) == needed.end()) continue;
    mark.group = found.first;
    mark.file = found.second.number();
    if (const auto written = write_record(mark, {}, {}); !written) return std::unexpected(written.error());
  }
  mark = {};
  mark.flags = kKeyMark;
  for (const auto& [key, position] : contents.key_marks) {
    if (position.segment < oldest) continue;
    mark.key = key;
    mark.file = position.number();
    if (const auto written = write_record(mark, {}, {}); !written) return std::unexpected(written.error());
  }
  return {};
}

Result<bool> SegmentStore::compact(const SharedSegment& segment, bool pressed, bool keep_none) {
  const std::string bytes = read_at(segment->file.get(), 0, segment->file_bytes);
  Contents contents = sort_out(*segment, bytes, pressed, keep_none);
  for (const auto& candidate : contents.kept)
    FUSED_CHECK(keep(candidate.head, std::string_view(bytes).substr(candidate.offset, candidate.head.record_bytes()),
                     {segment->number, candidate.offset}));
  FUSED_CHECK(carry_marks(*segment, contents));
  if (::unlinkat(folder_.get(), segment_name(segment->number).c_str(), 0) != 0)
    return fail_errno("cannot remove a segment", errno);
  for (const auto& candidate : contents.dropped) {
    index_.erase(candidate.head.key, {segment->number, candidate.offset});
    if (candidate.head.flags & kBodyInFile) contents.orphans.push_back(candidate.head.file);
  }
  for (const auto file : contents.orphans) remove_large(file);
  index_.remove_segment(segment->number);
  evicted_ += contents.dropped.size();
  ++compacted_;
  return pressed || victim(false) != nullptr;
}

}  // namespace fused
