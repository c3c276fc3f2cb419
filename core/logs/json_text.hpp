// JSON text that is safe to show in a terminal and to split by lines: valid UTF-8, and beside what JSON demands DEL,
// the C1 controls, U+2028 and U+2029 are escaped.
#pragma once
#include <string>
#include <string_view>

namespace fused {

// Appends `text` as a JSON string with its quotes. Invalid UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);
// Appends valid JSON text; what is escaped can only stand inside its strings.
void append_json_escaped(std::string& out, std::string_view json);

// 1234567 → "1,234,567".
std::string with_thousands(long long number);

}  // namespace fused
