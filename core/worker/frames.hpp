// The frames between the server and a worker, over one Unix stream socket. The same description stands in
// python/fused/_worker/frames.py; tests/contract/frames.json holds byte vectors that both sides must read and write.
//
//   offset  size  field
//        0     4  magic "FUSD"
//        4     1  version (1)
//        5     1  kind
//        6     2  flags (bit 0: the body is in a sealed memfd passed with the first byte of this frame; body_length is
//        its size) 8     4  header_length, bytes of JSON that follow (little endian, as all numbers)
//       12     4  body_length, bytes after the JSON (none on the socket when flag bit 0 is set)
//       16     8  nonce: made by the server for each worker; a frame without it did not come from our code
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace fused {

constexpr std::size_t kFrameHeadBytes = 24;
constexpr std::uint32_t kFrameHeaderBytesMax = 64u << 20;
constexpr std::uint8_t kFrameVersion = 1;
constexpr std::uint16_t kFrameBodyInMemfd = 1;
constexpr std::size_t kFrameInlineBodyMax = 256 << 10;  // larger bodies travel in a memfd

enum class FrameKind : std::uint8_t {
  // server → worker
  run = 1,         // header: RunOrder (ARCHITECTURE.md, "Frames"); body: none
  describe = 2,    // header: {"text": …}, or {"udf": …, "digest": true} for the result cache; answered by `described`
  call_reply = 3,  // header: {"call": n, "status": s, "headers": {…}}; body: the reply's body
  leave = 4,       // end after the current run
  run_group = 5,   // header: GroupOrder (ARCHITECTURE.md, "Frames"); body: the calls' arguments
  enter = 6,       // header: {"sandbox": {…}}; to one that was forked late, before anything else
  // worker → server
  ready = 16,         // header: {"pid", "isolation": [...], "skipped": [...], "python": "3.11.7"}
  result = 17,        // header: RunResult; body: the encoded value
  described = 18,     // header: {"udfs": [...]} or {"error": {...}}
  call = 19,          // header: {"call": n, "method", "target", "headers": {…}}; body: the request's body
  idle = 20,          // clean again; header: {"replace": null | "why this worker must be replaced", "runs": n}
  limits = 21,        // in a run, before the function is called; header: what its decorator asks for (own_limits.hpp)
  group_result = 22,  // a group has ended; header: {"ended": n, "execution_ms", "error": null | {…}}; body: none
};

struct FrameHead {
  FrameKind kind{};
  std::uint16_t flags = 0;
  std::uint32_t header_length = 0;
  std::uint32_t body_length = 0;
  std::uint64_t nonce = 0;
};

// 24 bytes.
std::string encode_frame_head(const FrameHead& head);
// Refuses a wrong magic, version, kind or nonce, and a header over kFrameHeaderBytesMax. `bytes` holds 24 bytes.
Result<FrameHead> decode_frame_head(std::string_view bytes, std::uint64_t nonce);

}  // namespace fused
