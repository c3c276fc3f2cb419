// A JSON text as a sequence of tokens: equal sequences are equal values in Python, keys in the same order.
#pragma once
#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace fused {

// i<digits>, or nothing for what is no whole number in ASCII: sign, digits, spaces around; "+007" is 7.
std::optional<std::string> integer_digits(std::string_view text);
// 8 bytes, big endian; one NaN. Nothing for what Python's float() reads and this does not, or the other way round.
std::optional<std::string> real_bits(std::string_view text);
std::string real_bits(double value);

// Nothing where the text is no JSON, or holds what two parsers may read differently (lone surrogates, numbers without
// end). Structure is not checked: equal sequences come from texts that are right or wrong alike.
std::optional<std::string> json_tokens(std::string_view text);
std::string json_tokens(const boost::json::value& value);

}  // namespace fused
