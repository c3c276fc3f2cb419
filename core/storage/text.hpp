// What names (base/text.hpp has is_utf8) that come from strangers are made of.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace fused {

// Takes the next code point off the front; nothing when the bytes are not valid UTF-8 (overlong forms, surrogates and
// values above U+10FFFF are not) or there are none left.
std::optional<char32_t> next_code_point(std::string_view& text);
bool has_control(std::string_view utf8);  // C0, DEL, C1, U+2028 and U+2029

}  // namespace fused
