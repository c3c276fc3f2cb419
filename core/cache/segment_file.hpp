// One segment on disk: head of 64 bytes, records, and once it is sealed a table of them and a trailer of 64 bytes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "cache/entry.hpp"
#include "storage/file_descriptor.hpp"

namespace fused {

inline constexpr std::size_t kSegmentHeadBytesOfCache = 64;
inline constexpr std::size_t kSegmentTrailerBytes = 64;

// A record as the table names it: 80 bytes, all that the index needs.
struct TableRow {
  Digest key;
  std::uint64_t file = 0;
  std::uint32_t offset = 0;
  std::uint32_t record_bytes = 0;
  std::uint32_t created = 0;
  std::uint32_t expires = 0;
  std::uint32_t group = 0;
  std::uint32_t tile_group = 0;
  float cost_seconds = 0;
  std::uint32_t large_kib = 0;
  std::uint32_t flags = 0;
  std::uint32_t zero = 0;
};
static_assert(sizeof(TableRow) == 80);
TableRow table_row(const RecordHead& head, std::uint32_t offset);

std::string encode_segment_head(std::uint32_t number, std::uint64_t nonce);
enum class SegmentHead { good, damaged, foreign };  // foreign: another version, or not ours
SegmentHead decode_segment_head(std::string_view bytes, std::uint32_t number, std::uint64_t& nonce);

std::string encode_table(const std::vector<TableRow>& rows, std::uint32_t number, std::uint64_t nonce,
                         std::uint64_t at);

// All bytes from `at`; an error says what and where.
Status write_at(int file, std::string_view bytes, std::uint64_t at, const std::string& name);
// Up to `bytes`; less at the end of the file or upon an error.
std::string read_at(int file, std::uint64_t at, std::size_t bytes);

// The table of a sealed segment; nothing when it has none that is whole.
std::optional<std::vector<TableRow>> read_table(int file, std::uint32_t number, std::uint64_t nonce,
                                                std::uint64_t file_bytes);
// Every record whose head and meta are whole, in order; damaged parts are stepped over. Gives the end of the last one.
std::uint64_t walk_records(std::string_view segment, std::uint64_t nonce,
                           const std::function<void(const RecordHead&, std::uint32_t offset)>& each);

}  // namespace fused
