#include "http/request_id.hpp"

#include <sodium.h>

#include <algorithm>
#include <array>

namespace fused {
namespace {

constexpr std::size_t kUuidBytes = 16;
constexpr char kDigits[] = "0123456789abcdef";

bool is_lower_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

bool is_request_id(std::string_view text) {
  if (text.empty() || text.size() > 64 || text.front() == '.') return false;
  return std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
           c == '-';
  });
}

std::string new_request_id() {
  thread_local std::array<unsigned char, 4096> pool;
  thread_local std::size_t used = pool.size();
  if (used == pool.size()) {
    randombytes_buf(pool.data(), pool.size());
    used = 0;
  }
  unsigned char* bytes = pool.data() + used;
  used += kUuidBytes;
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3f) | 0x80);
  std::string id(36, '-');
  std::size_t at = 0;
  for (std::size_t i = 0; i < kUuidBytes; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) ++at;
    id[at++] = kDigits[bytes[i] >> 4];
    id[at++] = kDigits[bytes[i] & 15];
  }
  return id;
}

bool is_traceparent(std::string_view text) {
  if (text.size() != 55 || !text.starts_with("00-") || text[35] != '-' || text[52] != '-') return false;
  const auto trace = text.substr(3, 32), parent = text.substr(36, 16), flags = text.substr(53);
  return is_lower_hex(trace) && is_lower_hex(parent) && is_lower_hex(flags) &&
         trace.find_first_not_of('0') != std::string_view::npos &&
         parent.find_first_not_of('0') != std::string_view::npos;
}

}  // namespace fused
