#include "http/target.hpp"

#include <array>

#include "base/text.hpp"

namespace fused {
namespace {

constexpr std::size_t kParametersMax = 10'000;
constexpr std::size_t kShownBytes = 80;

constexpr std::array<signed char, 256> make_hex_values() {
  std::array<signed char, 256> values{};
  for (auto& value : values) value = -1;
  for (int i = 0; i < 10; ++i) values['0' + i] = static_cast<signed char>(i);
  for (int i = 0; i < 6; ++i) values['a' + i] = values['A' + i] = static_cast<signed char>(10 + i);
  return values;
}
constexpr auto kHexValues = make_hex_values();

int hex_value(char c) { return kHexValues[static_cast<unsigned char>(c)]; }

std::string shown(std::string_view text) { return printable(text.substr(0, kShownBytes)); }

std::unexpected<Error> refused(std::string_view what, std::string_view text) {
  return fail(ErrorKind::invalid_argument, std::string(what) + " in '" + shown(text) + "'");
}

// Decodes into `out`; false for a malformed escape.
bool decode(std::string_view text, bool plus_is_space, std::string& out) {
  out.clear();
  if (text.find('%') == std::string_view::npos && (!plus_is_space || text.find('+') == std::string_view::npos)) {
    out.assign(text);
    return true;
  }
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return false;
      const int high = hex_value(text[i + 1]), low = hex_value(text[i + 2]);
      if (high < 0 || low < 0) return false;
      out.push_back(static_cast<char>(high << 4 | low));
      i += 2;
    } else {
      out.push_back(plus_is_space && text[i] == '+' ? ' ' : text[i]);
    }
  }
  return true;
}

Status check_text(std::string_view decoded, std::string_view raw) {
  if (decoded.find('\0') != std::string_view::npos) return refused("the URL holds a NUL byte (%00)", raw);
  if (!is_utf8(decoded)) return refused("the URL is not UTF-8 after percent-decoding", raw);
  return {};
}

Status check_path(std::string_view path, std::string_view raw) {
  FUSED_CHECK(check_text(path, raw));
  for (const char c : path)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\')
      return refused("the path holds a control character or a backslash", raw);
  for (std::size_t at = path.find("/."); at != std::string_view::npos; at = path.find("/.", at + 1)) {
    const auto segment = path.substr(at + 1, path.find('/', at + 1) - at - 1);
    if (segment == "." || segment == "..") return refused("the path holds a '.' or '..' segment", raw);
  }
  return {};
}

Status parse_query(std::string_view text, Query& query) {
  while (!text.empty()) {
    const auto end = text.find('&');
    const auto item = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (item.empty()) continue;
    if (query.items.size() >= kParametersMax)
      return fail(ErrorKind::invalid_argument, "the URL has more than 10000 query parameters");
    const auto equals = item.find('=');
    auto& [name, value] = query.items.emplace_back();
    if (!decode(item.substr(0, equals), true, name) ||
        (equals != std::string_view::npos && !decode(item.substr(equals + 1), true, value)))
      return refused("bad percent-encoding (a '%' needs two hexadecimal digits; '%' itself is %25)", item);
    FUSED_CHECK(check_text(name, item));
    FUSED_CHECK(check_text(value, item));
  }
  return {};
}

}  // namespace

Result<Target> parse_target(std::string_view text) {
  Target target;
  if (!text.starts_with('/')) {
    // RFC 9112 3.2.2: a server must also take the form that clients send to proxies.
    std::string_view scheme = text.starts_with("http://") ? "http://" : text.starts_with("https://") ? "https://" : "";
    if (scheme.empty()) return refused("the request target must begin with '/'", text);
    text.remove_prefix(scheme.size());
    const auto slash = text.find('/');
    target.authority = text.substr(0, slash);
    if (slash == std::string_view::npos || target.authority.empty())
      return refused("the request target must be http://host/path", text);
    text.remove_prefix(slash);
  }
  for (const char c : text)
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '#')
      return refused("the request target holds a space, a control character or a '#' that is not percent-encoded",
                     text);
  const auto question = text.find('?');
  target.raw_path = text.substr(0, question);
  if (question != std::string_view::npos) target.raw_query = text.substr(question + 1);
  if (!decode(target.raw_path, false, target.path))
    return refused("bad percent-encoding (a '%' needs two hexadecimal digits; '%' itself is %25)", target.raw_path);
  FUSED_CHECK(check_path(target.path, target.raw_path));
  FUSED_CHECK(parse_query(target.raw_query, target.query));
  return target;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  return decode(text, false, out) ? out : std::string(text);
}

}  // namespace fused
