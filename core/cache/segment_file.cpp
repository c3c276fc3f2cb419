#include "cache/segment_file.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace fused {
namespace {

constexpr std::string_view kHeadMagic = "FUSEDSG1";
constexpr std::string_view kTrailerMagic = "FUSEDST1";
constexpr std::string_view kFamily = "FUSEDSG";

template <class T>
void put(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}
template <class T>
T get_at(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}
void put_check(std::string& out, const Check& check) {
  out.append(reinterpret_cast<const char*>(check.data()), check.size());
}
bool has_check(std::string_view bytes, std::size_t at, const Check& check) {
  return std::memcmp(bytes.data() + at, check.data(), check.size()) == 0;
}

std::uint32_t seconds(std::int64_t ms) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(ms / 1000, 0, 0xffffffff));
}

}  // namespace

TableRow table_row(const RecordHead& head, std::uint32_t offset) {
  TableRow row;
  row.key = head.key;
  row.file = head.file;
  row.offset = offset;
  row.record_bytes = static_cast<std::uint32_t>(head.record_bytes());
  row.created = seconds(head.created_ms);
  row.expires = seconds(head.expires_ms);
  row.group = head.group;
  row.tile_group = head.tile_group;
  row.cost_seconds = head.cost_seconds;
  if (head.flags & kBodyInFile)
    row.large_kib = static_cast<std::uint32_t>(std::min<std::uint64_t>((head.body_bytes + 1023) / 1024, 0xffffffff));
  row.flags = head.flags;
  return row;
}

std::string encode_segment_head(std::uint32_t number, std::uint64_t nonce) {
  std::string out(kHeadMagic);
  put(out, number);
  put(out, std::uint32_t{0});
  put(out, nonce);
  out.append(24, '\0');
  put_check(out, check_of(out, number));
  return out;
}

SegmentHead decode_segment_head(std::string_view bytes, std::uint32_t number, std::uint64_t& nonce) {
  if (bytes.size() >= kHeadMagic.size() && bytes.starts_with(kFamily) && !bytes.starts_with(kHeadMagic))
    return SegmentHead::foreign;
  if (bytes.size() < kSegmentHeadBytesOfCache || !bytes.starts_with(kHeadMagic)) return SegmentHead::damaged;
  if (!has_check(bytes, 48, check_of(bytes.substr(0, 48), number))) return SegmentHead::damaged;
  nonce = get_at<std::uint64_t>(bytes, 16);
  return SegmentHead::good;
}

std::string encode_table(const std::vector<TableRow>& rows, std::uint32_t number, std::uint64_t nonce,
                         std::uint64_t at) {
  std::string out(reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(TableRow));
  const Check table = check_of(out, nonce);
  std::string trailer(kTrailerMagic);
  put(trailer, at);
  put(trailer, static_cast<std::uint64_t>(rows.size()));
  put(trailer, number);
  put(trailer, std::uint32_t{0});
  put_check(trailer, table);
  put_check(trailer, check_of(trailer, nonce));
  return out + trailer;
}

Status write_at(int file, std::string_view bytes, std::uint64_t at, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int error = written < 0 ? errno : ENOSPC;
      if (error == ENOSPC || error == EDQUOT || error == EFBIG)
        return fail(ErrorKind::storage_full, "no room to write " + name + ": " + std::strerror(error));
      return fail_errno("cannot write " + name, error);
    }
    at += static_cast<std::uint64_t>(written);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

std::string read_at(int file, std::uint64_t at, std::size_t bytes) {
  std::string out(bytes, '\0');
  std::size_t got = 0;
  while (got < bytes) {
    const ssize_t count = ::pread(file, out.data() + got, bytes - got, static_cast<off_t>(at + got));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    got += static_cast<std::size_t>(count);
  }
  out.resize(got);
  return out;
}

std::optional<std::vector<TableRow>> read_table(int file, std::uint32_t number, std::uint64_t nonce,
                                                std::uint64_t file_bytes) {
  if (file_bytes < kSegmentHeadBytesOfCache + kSegmentTrailerBytes) return std::nullopt;
  const std::string trailer = read_at(file, file_bytes - kSegmentTrailerBytes, kSegmentTrailerBytes);
  if (trailer.size() != kSegmentTrailerBytes || !trailer.starts_with(kTrailerMagic) ||
      !has_check(trailer, 48, check_of(std::string_view(trailer).substr(0, 48), nonce)))
    return std::nullopt;
  const auto at = get_at<std::uint64_t>(trailer, 8);
  const auto count = get_at<std::uint64_t>(trailer, 16);
  if (get_at<std::uint32_t>(trailer, 24) != number || at > file_bytes ||
      count != (file_bytes - kSegmentTrailerBytes - at) / sizeof(TableRow))
    return std::nullopt;
  const std::string table = read_at(file, at, count * sizeof(TableRow));
  if (table.size() != count * sizeof(TableRow) || !has_check(trailer, 32, check_of(table, nonce))) return std::nullopt;
  std::vector<TableRow> rows(count);
  if (count > 0) std::memcpy(static_cast<void*>(rows.data()), table.data(), table.size());
  return rows;
}

std::uint64_t walk_records(std::string_view segment, std::uint64_t nonce,
                           const std::function<void(const RecordHead&, std::uint32_t offset)>& each) {
  std::size_t at = kSegmentHeadBytesOfCache;
  std::size_t end = std::min(at, segment.size());
  while (at + kRecordHeadBytes <= segment.size()) {
    const auto head = decode_head(segment.substr(at), nonce);
    if (!head || at + head->record_bytes() > segment.size()) {
      // Whatever stands here is no record of this segment: look at each place where one could begin.
      at += 8;
      continue;
    }
    each(*head, static_cast<std::uint32_t>(at));
    at += head->record_bytes();
    end = at;
  }
  return end;
}

}  // namespace fused
