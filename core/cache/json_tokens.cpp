#include "cache/json_tokens.hpp"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::size_t kNumberBytesMax = 400;

std::string_view stripped(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\n\r\v\f";
  const std::size_t begin = text.find_first_not_of(kSpaces);
  return begin == std::string_view::npos ? std::string_view{}
                                         : text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool all_digits(std::string_view text) {
  for (const char c : text)
    if (!is_digit(c)) return false;
  return !text.empty();
}

void append_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 63));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 63));
    out += static_cast<char>(0x80 | (c & 63));
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 63));
    out += static_cast<char>(0x80 | (c >> 6 & 63));
    out += static_cast<char>(0x80 | (c & 63));
  }
}

// With its length in front, so that no text can look like other tokens.
void append_string(std::string& out, std::string_view text) {
  out += 's';
  out += std::to_string(text.size());
  out += ':';
  out += text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : rest_(text) {}

  std::optional<std::string> run() {
    for (;;) {
      while (!rest_.empty() && std::string_view(" \t\n\r").find(rest_.front()) != std::string_view::npos)
        rest_.remove_prefix(1);
      if (rest_.empty()) return std::move(out_);
      if (!token()) return std::nullopt;
    }
  }

 private:
  bool token() {
    const char c = rest_.front();
    if (std::string_view("[]{},:").find(c) != std::string_view::npos) {
      out_ += c;
      rest_.remove_prefix(1);
      return true;
    }
    if (c == '"') return string();
    if (c == '-' || is_digit(c)) return number();
    for (const auto& [word, token] : {std::pair<std::string_view, char>{"true", 'T'}, {"false", 'F'}, {"null", 'N'}})
      if (rest_.starts_with(word)) {
        out_ += token;
        rest_.remove_prefix(word.size());
        return true;
      }
    return false;
  }

  bool number() {
    std::size_t end = rest_.front() == '-';
    const std::size_t digits = end;
    while (end < rest_.size() && is_digit(rest_[end])) ++end;
    if (end == digits || (rest_[digits] == '0' && end > digits + 1)) return false;
    bool real = false;
    if (end < rest_.size() && rest_[end] == '.') {
      const std::size_t from = ++end;
      while (end < rest_.size() && is_digit(rest_[end])) ++end;
      if (end == from) return false;
      real = true;
    }
    if (end < rest_.size() && (rest_[end] == 'e' || rest_[end] == 'E')) {
      ++end;
      if (end < rest_.size() && (rest_[end] == '+' || rest_[end] == '-')) ++end;
      const std::size_t from = end;
      while (end < rest_.size() && is_digit(rest_[end])) ++end;
      if (end == from) return false;
      real = true;
    }
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end);
    // Two numbers in a row are no JSON, but their tokens could be taken for one number's.
    if (!out_.empty() && after_number_ == out_.size()) return false;
    const auto token = real ? real_bits(text) : integer_digits(text);
    if (!token) return false;
    out_ += real ? 'f' : 'i';
    out_ += *token;
    after_number_ = out_.size();
    return true;
  }

  bool string() {
    rest_.remove_prefix(1);
    std::string text;
    for (;;) {
      if (rest_.empty()) return false;
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') break;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\')
        text += c;
      else if (!escape(text))
        return false;
    }
    append_string(out_, text);
    return true;
  }

  bool escape(std::string& text) {
    if (rest_.empty()) return false;
    const char c = rest_.front();
    rest_.remove_prefix(1);
    constexpr std::string_view kNames = "\"\\/bfnrt", kValues = "\"\\/\b\f\n\r\t";
    if (const std::size_t at = kNames.find(c); at != std::string_view::npos) {
      text += kValues[at];
      return true;
    }
    std::uint32_t code = 0;
    if (c != 'u' || !hex4(code)) return false;
    if (code >= 0xd800 && code < 0xe000) {
      std::uint32_t low = 0;
      if (code >= 0xdc00 || !rest_.starts_with("\\u")) return false;
      rest_.remove_prefix(2);
      if (!hex4(low) || low < 0xdc00 || low >= 0xe000) return false;
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(text, code);
    return true;
  }

  bool hex4(std::uint32_t& code) {
    if (rest_.size() < 4) return false;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + 4, code, 16);
    if (error != std::errc{} || end != rest_.data() + 4) return false;
    rest_.remove_prefix(4);
    return true;
  }

  std::string_view rest_;
  std::string out_;
  std::size_t after_number_ = 0;
};

void append_tokens(std::string& out, const json::value& value) {
  switch (value.kind()) {
    case json::kind::null: out += 'N'; return;
    case json::kind::bool_: out += value.get_bool() ? 'T' : 'F'; return;
    case json::kind::int64: (out += 'i') += std::to_string(value.get_int64()); return;
    case json::kind::uint64: (out += 'i') += std::to_string(value.get_uint64()); return;
    case json::kind::double_: (out += 'f') += real_bits(value.get_double()); return;
    case json::kind::string: append_string(out, {value.get_string().data(), value.get_string().size()}); return;
    case json::kind::array: {
      out += '[';
      bool first = true;
      for (const auto& item : value.get_array()) {
        if (!std::exchange(first, false)) out += ',';
        append_tokens(out, item);
      }
      out += ']';
      return;
    }
    case json::kind::object: {
      out += '{';
      bool first = true;
      for (const auto& item : value.get_object()) {
        if (!std::exchange(first, false)) out += ',';
        append_string(out, {item.key().data(), item.key().size()});
        out += ':';
        append_tokens(out, item.value());
      }
      out += '}';
      return;
    }
  }
}

}  // namespace

std::optional<std::string> integer_digits(std::string_view text) {
  text = stripped(text);
  if (text.empty() || text.size() > 4'000) return std::nullopt;
  const bool minus = text.front() == '-';
  if (minus || text.front() == '+') text.remove_prefix(1);
  if (!all_digits(text)) return std::nullopt;
  text.remove_prefix(std::min(text.find_first_not_of('0'), text.size() - 1));
  return (minus && text != "0" ? "-" : "") + std::string(text);
}

std::string real_bits(double value) {
  std::uint64_t bits = std::isnan(value) ? 0x7ff8000000000000u : std::bit_cast<std::uint64_t>(value);
  std::string out(8, '\0');
  for (int i = 7; i >= 0; --i, bits >>= 8) out[static_cast<std::size_t>(i)] = static_cast<char>(bits & 255);
  return out;
}

std::optional<std::string> real_bits(std::string_view text) {
  text = stripped(text);
  if (text.empty() || text.size() > kNumberBytesMax) return std::nullopt;
  std::string_view unsigned_text = text;
  if (unsigned_text.front() == '+' || unsigned_text.front() == '-') unsigned_text.remove_prefix(1);
  // Words ("nan", "infinity") have several spellings, which are left to the bytes.
  if (unsigned_text.empty() || !(is_digit(unsigned_text.front()) || unsigned_text.front() == '.')) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(unsigned_text.data(), unsigned_text.data() + unsigned_text.size(), value);
  if (error != std::errc{} || end != unsigned_text.data() + unsigned_text.size()) return std::nullopt;
  return real_bits(text.front() == '-' ? -value : value);
}

std::optional<std::string> json_tokens(std::string_view text) { return Lexer(text).run(); }

std::string json_tokens(const json::value& value) {
  std::string out;
  append_tokens(out, value);
  return out;
}

}  // namespace fused
