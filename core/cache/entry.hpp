// A stored result, and the bytes in which it lies in a segment: header of 128 bytes, meta, body, zeros up to a multiple
// of 8. Numbers are little endian.
//
//   0 "FCE1" | 4 u32 meta bytes | 8 u32 flags | 12 u32 group | 16 u32 tile group | 20 f32 cost in seconds
//   24 u64 body bytes | 32 i64 created, ms | 40 i64 expires, ms | 48 u64 file of a large body, or position of a mark
//   56 8 zeros | 64 key, 32 bytes | 96 XXH3-128 of the body | 112 XXH3-128 of bytes 0–111 and the meta, seeded with the
//   segment's nonce
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "cache/cache_key.hpp"

namespace fused {

struct FunctionUse {  // a saved function that the run loaded or ran
  std::string id;
  std::string revision;
  bool operator==(const FunctionUse&) const = default;
};
struct FileUse {  // a file that the run said it has read; size -1: it was not there
  std::string path;
  std::int64_t size = -1;
  std::int64_t mtime_ns = 0;
  std::uint64_t inode = 0;
  bool operator==(const FileUse&) const = default;
};

struct CacheEntry {
  CacheKey key;
  std::int64_t created_ms = 0;  // since 1970
  std::int64_t expires_ms = 0;  // by the age that its run was allowed; what a later call allows counts for that call
  double cost_seconds = 0;      // what a hit saves
  std::string organisation;
  std::string owner_email;
  std::string run_id;  // of the run that made it: its log folder is the entry's log
  std::string revision;
  int status = 200;
  std::string content_type;
  std::string format;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string metadata;  // x-fused-metadata of the run
  std::string note;
  std::vector<FunctionUse> functions;
  std::vector<FileUse> files;
  Bytes body;
  std::string etag;  // of the body: "\"" + 32 digits + "\"", the same as for an answer that was just computed
};
using SharedCacheEntry = std::shared_ptr<const CacheEntry>;

inline constexpr std::size_t kRecordHeadBytes = 128;
inline constexpr std::uint32_t kMetaBytesMax = 4 << 20;
inline constexpr std::uint64_t kBodyBytesMax = 1ull << 40;
inline constexpr std::uint32_t kBodyInFile = 1;  // flags
inline constexpr std::uint32_t kGroupMark = 2;   // results of the group (function or tile) before it are gone
inline constexpr std::uint32_t kKeyMark = 4;     // the result of the key before it is gone

using Check = std::array<unsigned char, 16>;
Check check_of(std::string_view bytes, std::uint64_t seed = 0);
std::string etag_of_check(const Check& check);

struct RecordHead {
  std::uint32_t meta_bytes = 0;
  std::uint32_t flags = 0;
  std::uint32_t group = 0;
  std::uint32_t tile_group = 0;
  float cost_seconds = 0;
  std::uint64_t body_bytes = 0;
  std::int64_t created_ms = 0;
  std::int64_t expires_ms = 0;
  std::uint64_t file = 0;
  Digest key;
  Check body_check{};

  bool is_mark() const { return (flags & (kGroupMark | kKeyMark)) != 0; }
  std::uint64_t record_bytes() const;  // in the segment, with what fills it up
};

RecordHead head_of(const CacheEntry& entry);  // without file
std::string encode_meta(const CacheEntry& entry);
// 128 bytes, to be followed by `meta`.
std::string encode_head(const RecordHead& head, std::string_view meta, std::uint64_t nonce);
// The head at the start of `bytes`, once head and meta prove whole; the body is not looked at.
std::optional<RecordHead> decode_head(std::string_view bytes, std::uint64_t nonce);
// The rest of an entry; body and etag are the caller's. Nothing for a meta of another form.
std::shared_ptr<CacheEntry> decode_meta(const RecordHead& head, std::string_view meta);

}  // namespace fused
