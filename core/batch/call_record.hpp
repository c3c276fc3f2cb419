// What one call leaves behind, as bytes: python/fused/_submit/record.py says the same.
//
// A worker writes, one after the other: u64 bytes of the record | u8 status | f64 started | f64 seconds | the record.
// A record: char kind | u32 bytes of stdout | u32 bytes of stderr | stdout | stderr | body.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace fused {

enum class CallStatus : std::uint8_t { pending, running, success, error, timeout, cancelled };

inline constexpr std::size_t kEndedHeadBytes = 25;
inline constexpr std::size_t kRecordHeadBytesOfCall = 9;
inline constexpr std::size_t kCallStreamBytesMax = 64 << 10;
inline constexpr std::size_t kProgressBytes = 24;  // f64 began (monotonic; 0: none), i64 begin of its stdout, of stderr

template <class T>
T number_in(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

struct EndedHead {
  std::uint64_t bytes = 0;
  CallStatus status{};
  double started = 0;
  double seconds = 0;
};
inline EndedHead ended_head(const char* at) {
  return {number_in<std::uint64_t>(at), static_cast<CallStatus>(at[8]), number_in<double>(at + 9),
          number_in<double>(at + 17)};
}

struct CallRecord {
  char kind = '-';  // 'w' a value, 'e' an error as JSON, '-' nothing
  std::string_view out, err, body;

  static std::optional<CallRecord> of(std::string_view bytes) {
    if (bytes.size() < kRecordHeadBytesOfCall) return std::nullopt;
    const std::uint64_t out = number_in<std::uint32_t>(bytes.data() + 1);
    const std::uint64_t err = number_in<std::uint32_t>(bytes.data() + 5);
    if (kRecordHeadBytesOfCall + out + err > bytes.size()) return std::nullopt;
    CallRecord record;
    record.kind = bytes[0];
    record.out = bytes.substr(kRecordHeadBytesOfCall, out);
    record.err = bytes.substr(kRecordHeadBytesOfCall + out, err);
    record.body = bytes.substr(kRecordHeadBytesOfCall + out + err);
    return record;
  }
  std::string bytes() const {
    std::string text(1, kind);
    for (const auto part : {out.size(), err.size()}) {
      const auto size = static_cast<std::uint32_t>(part);
      text.append(reinterpret_cast<const char*>(&size), sizeof size);
    }
    return text.append(out).append(err).append(body);
  }
};

}  // namespace fused
