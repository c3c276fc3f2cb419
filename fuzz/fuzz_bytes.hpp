// Takes a fuzzer's bytes apart: small numbers, doubles, pieces. Past the end everything is the smallest.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

class Fuzzed {
 public:
  Fuzzed(const std::uint8_t* data, std::size_t size) : left_(reinterpret_cast<const std::byte*>(data), size) {}

  // 1 … most.
  int small_number(int most) {
    const auto taken = bytes(1);
    return taken.empty() ? 1 : 1 + int(taken[0]) % most;
  }
  double number() {
    double value = 0;
    const auto taken = bytes(sizeof value);
    std::memcpy(&value, taken.data(), taken.size());
    return value;
  }
  // At most `count`; a copy, so that a read beyond it is seen.
  std::vector<std::byte> bytes(std::size_t count) {
    count = std::min(count, left_.size());
    std::vector<std::byte> taken(left_.begin(), left_.begin() + count);
    left_ = left_.subspan(count);
    return taken;
  }
  std::vector<std::byte> rest() { return bytes(left_.size()); }

 private:
  std::span<const std::byte> left_;
};
