// What people, organisations and tokens may be called. Each refusal is an invalid_argument that names value and rule.
#pragma once
#include <string_view>

#include "base/result.hpp"

namespace fused {

// One '@' with something on both sides, no spaces, usable as a folder name, at most 254 bytes.
Status check_email(std::string_view email);
bool same_email(std::string_view a, std::string_view b);  // ASCII letters in either case
// Lower-case ASCII letters, digits, '.', '_' and '-', beginning with a letter or digit, 1 to 64 characters; not
// "fused-system" (a folder beside the homes), "team", "public" or "self" (words in names and URLs). `what` stands in
// the message: "user name".
Status check_user_name(std::string_view name, std::string_view what);
// Free text on one line, at most 255 bytes, not empty.
Status check_label(std::string_view text, std::string_view what);

}  // namespace fused
