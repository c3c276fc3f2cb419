// A chunk of a batch's results as it lies in their file (batch_results.hpp): "FBR1" | u32 calls n | u64 bytes of the
// records | f64 started[n] | f64 seconds[n] | u32 index[n] | u32 bytes[n] | u16 attempts[n] | u8 status[n] | the
// records | SHA-256 of the arguments [n]. Numbers little endian.
#pragma once
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "batch/call_arguments.hpp"
#include "batch/call_record.hpp"

namespace fused {

struct EndedCall {
  std::uint32_t index = 0;
  CallStatus status{};
  std::uint16_t attempts = 0;
  double started = 0;
  double seconds = 0;
};

class ResultChunk {
 public:
  static constexpr std::string_view kMagic = "FBR1";
  static constexpr std::size_t kHeadBytes = 16;
  static constexpr std::size_t kCallBytes = 8 + 8 + 4 + 4 + 2 + 1;
  static constexpr std::size_t kDigestBytes = sizeof(ArgumentDigest);
  static constexpr unsigned kStatuses = 6;

  // The one at the start of `bytes`; nothing where it is no whole chunk.
  static std::optional<ResultChunk> first_of(std::string_view bytes) {
    if (bytes.size() < kHeadBytes || !bytes.starts_with(kMagic)) return std::nullopt;
    ResultChunk chunk;
    chunk.calls_ = number_in<std::uint32_t>(bytes.data() + 4);
    const std::uint64_t records = number_in<std::uint64_t>(bytes.data() + 8);
    const std::size_t rest = bytes.size() - kHeadBytes;
    if (records > rest || chunk.calls_ > (rest - records) / (kCallBytes + kDigestBytes)) return std::nullopt;
    chunk.bytes_ = bytes.substr(0, kHeadBytes + chunk.calls_ * (kCallBytes + kDigestBytes) + records);
    return chunk;
  }
  std::size_t calls() const { return calls_; }
  std::size_t bytes() const { return bytes_.size(); }

  struct Call : EndedCall {
    const char* digest = nullptr;  // kDigestBytes
    std::string_view record;
  };
  // Each call, in the order in which they ended. False where what it says is not what it has.
  template <class F>
  bool for_each(F&& take) const {
    const char* const started = bytes_.data() + kHeadBytes;
    const char* const seconds = started + 8 * calls_;
    const char* const index = seconds + 8 * calls_;
    const char* const lengths = index + 4 * calls_;
    const char* const attempts = lengths + 4 * calls_;
    const char* const status = attempts + 2 * calls_;
    const char* const digests = bytes_.data() + bytes_.size() - calls_ * kDigestBytes;
    const char* record = status + calls_;
    for (std::size_t i = 0; i < calls_; ++i) {
      const std::size_t size = number_in<std::uint32_t>(lengths + 4 * i);
      if (size > static_cast<std::size_t>(digests - record) || static_cast<unsigned char>(status[i]) >= kStatuses)
        return false;
      take(Call{{number_in<std::uint32_t>(index + 4 * i), static_cast<CallStatus>(status[i]),
                 number_in<std::uint16_t>(attempts + 2 * i), number_in<double>(started + 8 * i),
                 number_in<double>(seconds + 8 * i)},
                digests + kDigestBytes * i,
                {record, size}});
      record += size;
    }
    return true;
  }

 private:
  std::size_t calls_ = 0;
  std::string_view bytes_;
};

}  // namespace fused
