// Text from strangers, made fit to be shown or stored.
#pragma once
#include <string>
#include <string_view>

namespace fused {

bool is_utf8(std::string_view text);
// What is not UTF-8 becomes U+FFFD.
std::string valid_utf8(std::string_view text);
// One line that a terminal may see: valid UTF-8 in which C0, DEL, C1 and the line separators U+2028/9 read \xNN or
// \u2028.
std::string printable(std::string_view text);
// Runs of 40 or more hexadecimal digits (tokens, hashes) cut to their first six and "…".
std::string redacted(std::string_view text);

}  // namespace fused
