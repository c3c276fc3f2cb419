#include "logs/json_text.hpp"

#include <algorithm>
#include <cstdio>

#include "base/text.hpp"

namespace fused {
namespace {

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

void append_escape(std::string& out, unsigned code) {
  char text[8];
  std::snprintf(text, sizeof text, "\\u%04x", code);
  out += text;
}

void append_ascii(std::string& out, char c) {
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: append_escape(out, static_cast<unsigned char>(c)); return;
  }
}

// The first byte of `rest` is beyond ASCII, all of it is valid. Returns the bytes taken.
std::size_t append_beyond_ascii(std::string& out, std::string_view rest) {
  if (rest[0] == '\xC2' && static_cast<unsigned char>(rest[1]) < 0xA0) {
    append_escape(out, static_cast<unsigned char>(rest[1]));
    return 2;
  }
  if (rest.starts_with("\xE2\x80\xA8") || rest.starts_with("\xE2\x80\xA9")) {
    append_escape(out, 0x2000u + (static_cast<unsigned char>(rest[2]) & 0x3Fu));
    return 3;
  }
  out += rest[0];  // the bytes behind it follow as they are
  return 1;
}

template <class Special>
void append_escaped(std::string& out, std::string_view text, Special special) {
  while (!text.empty()) {
    const auto end = std::find_if(text.begin(), text.end(), special);
    out.append(text.begin(), end);
    text.remove_prefix(static_cast<std::size_t>(end - text.begin()));
    if (text.empty()) return;
    if (is_ascii(text[0])) {
      append_ascii(out, text[0]);
      text.remove_prefix(1);
    } else {
      text.remove_prefix(append_beyond_ascii(out, text));
    }
  }
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  std::string repaired;
  if (!is_utf8(text)) {
    repaired = valid_utf8(text);
    text = repaired;
  }
  out += '"';
  append_escaped(out, text, [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' || c == 0x7F || c == '\xC2' || c == '\xE2';
  });
  out += '"';
}

void append_json_escaped(std::string& out, std::string_view json) {
  std::string repaired;
  if (!is_utf8(json)) {
    repaired = valid_utf8(json);
    json = repaired;
  }
  append_escaped(out, json, [](char c) { return c == 0x7F || c == '\xC2' || c == '\xE2'; });
}

std::string with_thousands(long long number) {
  std::string digits = std::to_string(number);
  const std::size_t first = number < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

}  // namespace fused
