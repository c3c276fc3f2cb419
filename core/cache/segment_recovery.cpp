// The index, rebuilt from the segments at the start.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "cache/segments.hpp"

namespace fused {
namespace {

std::uint32_t number_of(const std::string& name) {
  std::uint32_t number = 0;
  if (!name.ends_with(".seg")) return 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size() - 4, number);
  return error == std::errc{} && end == name.data() + name.size() - 4 ? number : 0;
}

}  // namespace

Status SegmentStore::recover() {
  std::error_code error;
  std::vector<std::uint32_t> numbers;
  for (const auto& entry : std::filesystem::directory_iterator(options_.folder / "segments", error))
    if (const std::uint32_t number = number_of(entry.path().filename().string())) numbers.push_back(number);
  if (error) return fail_errno("cannot list " + (options_.folder / "segments").string(), error.value());
  std::ranges::sort(numbers);
  std::unordered_set<std::uint64_t> files;
  for (const std::uint32_t number : numbers) {
    next_number_ = std::max(next_number_, number + 1);
    FUSED_CHECK(recover_one(number, files));
  }
  sweep_large(files);
  return {};
}

Status SegmentStore::recover_one(std::uint32_t number, std::unordered_set<std::uint64_t>& files) {
  const std::string name = segment_name(number);
  auto segment = std::make_shared<Segment>();
  segment->number = number;
  segment->sealed = true;
  segment->file.reset(::openat(folder_.get(), name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  struct stat is{};
  if (!segment->file || ::fstat(segment->file.get(), &is) != 0 || !S_ISREG(is.st_mode)) {
    spdlog::warn("cache: segment {} cannot be read and is left alone", name);
    return {};
  }
  segment->file_bytes = static_cast<std::uint64_t>(is.st_size);
  switch (decode_segment_head(read_at(segment->file.get(), 0, kSegmentHeadBytesOfCache), number, segment->nonce)) {
    case SegmentHead::good: break;
    case SegmentHead::foreign:
      spdlog::warn("cache: segment {} is of another version and is left alone", name);
      return {};
    case SegmentHead::damaged:
      spdlog::warn("cache: segment {} has no whole head; it is removed", name);
      ::unlinkat(folder_.get(), name.c_str(), 0);
      return {};
  }
  if (const auto rows = read_table(segment->file.get(), number, segment->nonce, segment->file_bytes)) {
    index_.add_segment(segment);
    take_rows(*segment, *rows, files);
    return {};
  }
  // The last one of a server that was killed, or one whose table is damaged.
  std::vector<TableRow> rows;
  const std::string bytes = read_at(segment->file.get(), 0, segment->file_bytes);
  const std::uint64_t end = walk_records(bytes, segment->nonce, [&](const RecordHead& head, std::uint32_t offset) {
    rows.push_back(table_row(head, offset));
  });
  if (rows.empty()) {
    ::unlinkat(folder_.get(), name.c_str(), 0);
    return {};
  }
  const std::string table = encode_table(rows, number, segment->nonce, end);
  if (::ftruncate(segment->file.get(), static_cast<off_t>(end)) == 0 && write_at(segment->file.get(), table, end, name))
    segment->file_bytes = end + table.size();
  index_.add_segment(segment);
  take_rows(*segment, rows, files);
  return {};
}

void SegmentStore::take_rows(Segment& segment, const std::vector<TableRow>& rows,
                             std::unordered_set<std::uint64_t>& files) {
  index_.reserve(index_.size() + rows.size());
  std::uint64_t large = 0;
  for (const TableRow& from : rows) {
    const Position position{segment.number, from.offset};
    if (from.flags & kGroupMark) {
      index_.mark_group(from.group, from.file ? Position::of(from.file) : position);
    } else if (from.flags & kKeyMark) {
      index_.mark_key(from.key, from.file ? Position::of(from.file) : position);
    } else {
      IndexRow row;
      row.position = position;
      row.record_bytes = from.record_bytes;
      row.created = from.created;
      row.expires = from.expires;
      row.group = from.group;
      row.tile_group = from.tile_group;
      row.last_used = from.created;
      row.cost_seconds = from.cost_seconds;
      row.large_kib = from.large_kib;
      row.flags = static_cast<std::uint16_t>(from.flags);
      index_.insert(from.key, row);
      if (from.flags & kBodyInFile) {
        files.insert(from.file);
        large += std::uint64_t{from.large_kib} * 1024;
      }
    }
  }
  index_.grow(segment, 0, large);
}

// Bodies whose record never came, or went with its segment while their own removal did not happen.
void SegmentStore::sweep_large(const std::unordered_set<std::uint64_t>& files) {
  std::error_code error;
  for (const auto& folder : std::filesystem::directory_iterator(options_.folder / "large", error)) {
    std::error_code inner;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path(), inner)) {
      const std::string name = entry.path().filename().string();
      std::uint64_t file = 0;
      const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), file, 16);
      if (failed == std::errc{} && end == name.data() + name.size() && name.size() == 16 && !files.contains(file))
        ::unlink(entry.path().c_str());
    }
  }
}

}  // namespace fused
