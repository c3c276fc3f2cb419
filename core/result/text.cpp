#include "result/text.hpp"

#include <array>
#include <cmath>

namespace fused::result {
namespace {

constexpr char kHex[] = "0123456789abcdef";

// 0: plain, 1: needs an escape or is not ASCII.
constexpr auto kSpecial = [] {
  std::array<bool, 256> table{};
  for (int c = 0; c < 0x20; ++c) table[c] = true;
  for (int c = 0x80; c < 0x100; ++c) table[c] = true;
  table['"'] = table['\\'] = table[0x7f] = true;
  return table;
}();

// Length of the UTF-8 sequence at `at` by the table of RFC 3629, or 0 when it is not one.
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned { return static_cast<unsigned char>(text[at + i]); };
  const std::size_t left = text.size() - at;
  const auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
    return i < left && byte(i) >= low && byte(i) <= high;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return follows(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const unsigned low = lead == 0xe0 ? 0xa0 : 0x80, high = lead == 0xed ? 0x9f : 0xbf;
    return follows(1, low, high) && follows(2) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const unsigned low = lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xf4 ? 0x8f : 0xbf;
    return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

void append_escape(std::string& out, unsigned char c) {
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\b': out += "\\b"; return;
    case '\f': out += "\\f"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default:
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
  }
}

template <class Float>
void append_shortest(std::string& out, Float value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  char buffer[40];
  char* end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  const std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
  out += text;
  if (text.find_first_of(".e") == text.npos) out += ".0";
}

void append_padded(std::string& out, std::int64_t value, int width) {
  char buffer[24];
  char* end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  for (auto missing = width - (end - buffer); missing > 0; --missing) out += '0';
  out.append(buffer, static_cast<std::size_t>(end - buffer));
}

constexpr std::int64_t floor_divide(std::int64_t value, std::int64_t by) {
  return value / by - (value % by < 0 ? 1 : 0);
}

// Never by value - quotient * by: that overflows at the smallest value.
constexpr std::int64_t floor_remainder(std::int64_t value, std::int64_t by) {
  return value % by + (value % by < 0 ? by : 0);
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  std::size_t plain = 0, at = 0;
  while (at < text.size()) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (!kSpecial[c]) {
      ++at;
      continue;
    }
    if (const std::size_t length = c < 0x80 ? 0 : utf8_length(text, at); length != 0) {
      at += length;
      continue;
    }
    out.append(text, plain, at - plain);
    if (c < 0x80) {
      append_escape(out, c);
    } else {
      out += "\xef\xbf\xbd";
    }
    plain = ++at;
  }
  out.append(text, plain, at - plain);
  out += '"';
}

std::string text_of_json_string(std::string_view json) {
  std::string out;
  for (std::size_t i = 1; i + 1 < json.size(); ++i) {
    if (json[i] != '\\') {
      out += json[i];
      continue;
    }
    switch (json[++i]) {
      case 'b': out += '\b'; break;
      case 'f': out += '\f'; break;
      case 'n': out += '\n'; break;
      case 'r': out += '\r'; break;
      case 't': out += '\t'; break;
      case 'u':
        out += static_cast<char>(std::stoi(std::string(json.substr(i + 1, 4)), nullptr, 16));
        i += 4;
        break;
      default: out += json[i];
    }
  }
  return out;
}

void append_json_number(std::string& out, double value) { append_shortest(out, value); }
void append_json_number(std::string& out, float value) { append_shortest(out, value); }

void append_fixed(std::string& out, double value, int decimals) {
  static constexpr double kPowers[] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                       1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  const double scaled = std::nearbyint(value * kPowers[decimals]);
  if (!(std::abs(scaled) < 9e15)) {  // beyond exact integers: the digits asked for do not exist in a double
    append_json_number(out, value);
    return;
  }
  auto number = static_cast<std::int64_t>(scaled);
  if (number < 0) {
    out += '-';
    number = -number;
  }
  const auto power = static_cast<std::int64_t>(kPowers[decimals]);
  append_integer(out, number / power);
  std::int64_t fraction = number % power;
  if (fraction == 0) return;
  while (fraction % 10 == 0) {
    fraction /= 10;
    --decimals;
  }
  out += '.';
  append_padded(out, fraction, decimals);
}

void append_date(std::string& out, std::int64_t days) {
  // Days to civil date (Howard Hinnant's algorithm, public domain) in 64 bits: std::chrono stops at year 32767.
  const std::int64_t shifted = days + 719468;
  const std::int64_t era = floor_divide(shifted, 146097);
  const std::int64_t of_era = shifted - era * 146097;
  const std::int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  const std::int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t month_from_march = (5 * of_year + 2) / 153;
  const std::int64_t day = of_year - (153 * month_from_march + 2) / 5 + 1;
  const std::int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  std::int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  if (year < 0) {
    out += '-';
    year = -year;
  }
  append_padded(out, year, 4);
  out += '-';
  append_padded(out, month, 2);
  out += '-';
  append_padded(out, day, 2);
}

void append_time_of_day(std::string& out, std::int64_t nanoseconds) {
  const std::int64_t seconds = nanoseconds / 1'000'000'000, fraction = nanoseconds % 1'000'000'000;
  append_padded(out, seconds / 3600, 2);
  out += ':';
  append_padded(out, seconds / 60 % 60, 2);
  out += ':';
  append_padded(out, seconds % 60, 2);
  if (fraction == 0) return;
  out += '.';
  if (fraction % 1'000'000 == 0) {
    append_padded(out, fraction / 1'000'000, 3);
  } else if (fraction % 1'000 == 0) {
    append_padded(out, fraction / 1'000, 6);
  } else {
    append_padded(out, fraction, 9);
  }
}

void append_timestamp(std::string& out, std::int64_t ticks, int digits) {
  std::int64_t per_second = 1;
  for (int i = 0; i < digits; ++i) per_second *= 10;
  const std::int64_t seconds = floor_divide(ticks, per_second), fraction = floor_remainder(ticks, per_second);
  append_date(out, floor_divide(seconds, 86'400));
  out += 'T';
  append_time_of_day(out, floor_remainder(seconds, 86'400) * 1'000'000'000 + fraction * (1'000'000'000 / per_second));
}

void append_base64(std::string& out, std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::size_t at = 0;
  const auto byte = [&](std::size_t i) -> std::uint32_t {
    return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0;
  };
  for (; at < bytes.size(); at += 3) {
    const std::uint32_t group = byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2);
    out += kDigits[group >> 18];
    out += kDigits[group >> 12 & 63];
    out += at + 1 < bytes.size() ? kDigits[group >> 6 & 63] : '=';
    out += at + 2 < bytes.size() ? kDigits[group & 63] : '=';
  }
}

}  // namespace fused::result
