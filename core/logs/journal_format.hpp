// The bytes of a journal segment: a head, then frames. Numbers are little endian.
//
//   segment head   offset 0  8 bytes  "FUSEDRJ1"
//                         8  u32      version (1)
//                        12  u32      0
//                        16  16 bytes random key of this segment's checksums
//   frame          offset 0  u64      SipHash-2-4 with that key of everything behind it in the frame
//                         8  4 bytes  "FRAM"
//                        12  u16      kind
//                        14  u16      0
//                        16  u32      payload length
//                        20           payload
//
// The key makes a frame that stands inside somebody's output never pass for one of ours when a damaged part is skipped.
// A payload is a list of fields: u16 tag, u32 length, bytes. Unknown tags are ignored, so that a newer server may add
// some.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "logs/run_record.hpp"

namespace fused {

constexpr std::size_t kSegmentHeadBytes = 32;
constexpr std::size_t kFrameOverheadBytes = 20;
constexpr std::uint32_t kFramePayloadBytesMax = 256u << 20;

using JournalKey = std::array<unsigned char, 16>;

enum class JournalKind : std::uint16_t {
  code = 1,  // a function's code, once a segment, before the first run of it
  run = 2,
};

struct JournalFrame {
  JournalKind kind{};
  std::string_view payload;  // into the bytes that were read
  std::size_t size = 0;      // of the whole frame
};

// What `udf.json` is made from. `number` counts within a segment.
struct JournalCode {
  std::uint32_t number = 0;
  std::string key;  // equal keys mean equal content
  std::string name;
  std::string entrypoint;
  std::string code;
  std::string headers_json;
};

struct JournalRun {
  RunRecord record;  // without code and headers_json
  std::uint32_t code_number = 0;
  std::int64_t parameters_bytes = 0;  // of parameters that were too many to keep, else 0
  WallTime appended;
};

std::string encode_segment_head(const JournalKey& key);
Result<JournalKey> decode_segment_head(std::string_view bytes);

// Replaces `out` by one whole frame.
void encode_code(std::string& out, const JournalKey& key, const JournalCode& code);
void encode_run(std::string& out, const JournalKey& key, const RunRecord& record, std::uint32_t code_number,
                WallTime appended);

// The frame at the start of `bytes`; nothing when they hold no whole undamaged frame. `size_hint`, when asked for, gets
// the size of the frame as its head claims it (0: no head), so that a reader knows how much more to read.
std::optional<JournalFrame> decode_frame(std::string_view bytes, const JournalKey& key,
                                         std::size_t* size_hint = nullptr);
// The offset ≥ 1 of the next undamaged frame in `bytes`, or npos.
std::size_t find_next_frame(std::string_view bytes, const JournalKey& key);

Result<JournalCode> decode_code(std::string_view payload);
Result<JournalRun> decode_run(std::string_view payload);

}  // namespace fused
