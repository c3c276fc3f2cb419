// One entry of the result cache: what calls of a function have given, by the digest of their arguments.
//   "FBC1" | u32 calls n | n × (digest, 32 bytes | i64 made, ms since 1970 | u64 offset | u32 bytes | u32 0), by digest
//   | the records (call_record.hpp)
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "batch/call_arguments.hpp"

namespace fused {

class KeptCalls {
 public:
  static constexpr std::size_t kBytesMax = 32 << 20;  // of an entry
  static constexpr std::size_t kCallsMax = 200'000;

  // Nothing where the bytes are none of ours.
  static std::optional<KeptCalls> of(Bytes body);

  struct Found {
    std::int64_t made_ms = 0;
    std::string_view record;
  };
  std::optional<Found> find(const ArgumentDigest& arguments) const;
  std::size_t calls() const { return calls_; }
  Found at(std::size_t position, ArgumentDigest& arguments) const;

 private:
  const char* row(std::size_t position) const;

  Bytes body_;
  std::size_t calls_ = 0;
};

class CallsToKeep {
 public:
  // The first of equal arguments stays.
  void add(const ArgumentDigest& arguments, std::int64_t made_ms, std::string_view record);
  bool is_too_large() const { return bytes_ > KeptCalls::kBytesMax || calls_.size() > KeptCalls::kCallsMax; }
  std::string bytes() const;

 private:
  struct Call {
    std::int64_t made_ms;
    std::string record;
  };
  std::map<ArgumentDigest, Call> calls_;
  std::size_t bytes_ = 8;
};

}  // namespace fused
