#include "base/text.hpp"

#include <cstdint>
#include <cstring>

namespace fused {
namespace {

constexpr std::size_t kTokenDigits = 40;

bool continues(std::string_view text, std::size_t at, unsigned char low = 0x80, unsigned char high = 0xbf) {
  return at < text.size() && static_cast<unsigned char>(text[at]) >= low &&
         static_cast<unsigned char>(text[at]) <= high;
}

// Length of the well-formed sequence at `at` (Unicode 15, table 3-7), or 0.
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;
  if (lead < 0xe0) return continues(text, at + 1) ? 2 : 0;
  if (lead < 0xf0) {
    const unsigned char low = lead == 0xe0 ? 0xa0 : 0x80, high = lead == 0xed ? 0x9f : 0xbf;
    return continues(text, at + 1, low, high) && continues(text, at + 2) ? 3 : 0;
  }
  if (lead > 0xf4) return 0;
  const unsigned char low = lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xf4 ? 0x8f : 0xbf;
  return continues(text, at + 1, low, high) && continues(text, at + 2) && continues(text, at + 3) ? 4 : 0;
}

std::size_t ascii_prefix(std::string_view text, std::size_t at) {
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, 8);
    if (word & 0x8080808080808080ULL) break;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) ++at;
  return at;
}

// Where the first malformed byte is, or the size.
std::size_t first_malformed(std::string_view text) {
  for (std::size_t at = 0;;) {
    at = ascii_prefix(text, at);
    if (at >= text.size()) return text.size();
    const auto length = sequence_length(text, at);
    if (length == 0) return at;
    at += length;
  }
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

}  // namespace

bool is_utf8(std::string_view text) { return first_malformed(text) == text.size(); }

std::string valid_utf8(std::string_view text) {
  std::string out;
  for (;;) {
    const auto good = first_malformed(text);
    out.append(text.substr(0, good));
    if (good == text.size()) return out;
    out.append("\xef\xbf\xbd");
    text.remove_prefix(good + 1);
  }
}

std::string printable(std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  const std::string valid = valid_utf8(text);
  std::string out;
  out.reserve(valid.size());
  for (std::size_t i = 0; i < valid.size(); ++i) {
    const auto c = static_cast<unsigned char>(valid[i]);
    const auto next = i + 1 < valid.size() ? static_cast<unsigned char>(valid[i + 1]) : 0;
    if (c < 0x20 || c == 0x7f) {
      out.append("\\x").append(1, kDigits[c >> 4]).append(1, kDigits[c & 15]);
    } else if (c == 0xc2 && next < 0xa0) {
      out.append("\\x").append(1, kDigits[next >> 4]).append(1, kDigits[next & 15]);
      ++i;
    } else if (c == 0xe2 && next == 0x80 && (valid[i + 2] == '\xa8' || valid[i + 2] == '\xa9')) {
      out.append(valid[i + 2] == '\xa8' ? "\\u2028" : "\\u2029");
      i += 2;
    } else {
      out.push_back(static_cast<char>(c));
    }
  }
  return out;
}

std::string redacted(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && is_hex(text[end])) ++end;
    if (end == at) {
      out.push_back(text[at++]);
      continue;
    }
    const bool long_run = end - at >= kTokenDigits;
    out.append(text.substr(at, long_run ? 6 : end - at));
    if (long_run) out.append("…");
    at = end;
  }
  return out;
}

}  // namespace fused
