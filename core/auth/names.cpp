#include "auth/names.hpp"

#include <algorithm>
#include <string>

#include "base/text.hpp"
#include "storage/path_resolver.hpp"
#include "storage/text.hpp"

namespace fused {
namespace {

constexpr std::size_t kEmailBytesMax = 254;  // RFC 5321's path limit without the angle brackets
constexpr std::size_t kNameBytesMax = 64;
constexpr std::size_t kLabelBytesMax = 255;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool starts_name(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

std::unexpected<Error> refuse(std::string_view what, std::string_view value, std::string_view rule) {
  return fail(ErrorKind::invalid_argument,
              std::string(what) + " '" + shown(value) + "' cannot be used: " + std::string(rule));
}

}  // namespace

Status check_email(std::string_view email) {
  const auto at = email.find('@');
  if (at == email.npos || at == 0 || at + 1 == email.size() || email.find('@', at + 1) != email.npos)
    return refuse("e-mail", email, "it must have one '@' with something on both sides");
  if (email.size() > kEmailBytesMax) return refuse("e-mail", email, "it has more than 254 bytes");
  if (email.find(' ') != email.npos) return refuse("e-mail", email, "it holds a space");
  if (const auto usable = check_component(email); !usable) return std::unexpected(usable.error().within("e-mail"));
  return {};
}

bool same_email(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

Status check_user_name(std::string_view name, std::string_view what) {
  const bool fits =
      !name.empty() && name.size() <= kNameBytesMax && starts_name(name.front()) &&
      std::ranges::all_of(name, [](char c) { return starts_name(c) || c == '.' || c == '_' || c == '-'; });
  if (!fits)
    return refuse(what, name, "it must have 1 to 64 of a-z, 0-9, '.', '_' and '-' and begin with a letter or digit");
  for (const std::string_view own : {"fused-system", "team", "public", "self"})
    if (name == own) return refuse(what, name, "the platform uses that word itself");
  return {};
}

Status check_label(std::string_view text, std::string_view what) {
  if (text.empty()) return refuse(what, text, "it is empty");
  if (text.size() > kLabelBytesMax) return refuse(what, text, "it has more than 255 bytes");
  if (!is_utf8(text) || has_control(text)) return refuse(what, text, "it must be one line of UTF-8 text");
  return {};
}

}  // namespace fused
