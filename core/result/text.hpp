// Appends values as JSON text. Numbers are the shortest that read back as the same value.
#pragma once
#include <charconv>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace fused::result {

// With quotes. Bytes that are not UTF-8 become U+FFFD, so that the output is always valid JSON.
void append_json_string(std::string& out, std::string_view text);

// The text of a JSON string that append_json_string made; its quotes included in `json`.
std::string text_of_json_string(std::string_view json);

// "null" for NaN and infinities; integral values keep ".0", so that a reader sees a float.
void append_json_number(std::string& out, double value);
void append_json_number(std::string& out, float value);

template <std::integral T>
void append_integer(std::string& out, T value) {
  char buffer[24];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  out.append(buffer, static_cast<std::size_t>(end - buffer));
}

// At most `decimals` (1 to 15) digits after the point, no trailing zeros, "-0" as "0"; |value| from 1e15 as shortest
// text.
void append_fixed(std::string& out, double value, int decimals);

// "2024-01-31", "2024-01-31T12:00:00.25" (as many digits as are needed: none, 3, 6 or 9). Proleptic Gregorian.
void append_date(std::string& out, std::int64_t days_since_1970);
void append_time_of_day(std::string& out, std::int64_t nanoseconds);
// `ticks` of 10^-digits seconds (digits 0, 3, 6 or 9).
void append_timestamp(std::string& out, std::int64_t ticks, int digits);

void append_base64(std::string& out, std::string_view bytes);

}  // namespace fused::result
