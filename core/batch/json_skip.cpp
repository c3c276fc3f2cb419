#include "batch/json_skip.hpp"

namespace fused {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

}  // namespace

void JsonSkip::space() {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
    ++at_;
}

bool JsonSkip::take(char c) {
  if (!sees(c)) return false;
  ++at_;
  return true;
}

bool JsonSkip::literal(std::string_view word) {
  if (text_.substr(at_, word.size()) != word) return false;
  at_ += word.size();
  return true;
}

bool JsonSkip::digits() {
  const std::size_t from = at_;
  while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
  return at_ > from;
}

bool JsonSkip::number() {
  space();
  const std::size_t from = at_;
  if (at_ < text_.size() && text_[at_] == '-') ++at_;
  const bool zero = at_ < text_.size() && text_[at_] == '0';
  const std::size_t whole = at_;
  if (!digits() || (zero && at_ - whole > 1)) return false;
  if (at_ < text_.size() && text_[at_] == '.') {
    ++at_;
    if (!digits()) return false;
  }
  if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
    ++at_;
    if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
    if (!digits()) return false;
  }
  return at_ - from <= kNumberBytesMax;
}

bool JsonSkip::string(std::string_view& in_quotes) {
  space();
  const std::size_t from = at_;
  if (at_ >= text_.size() || text_[at_] != '"') return false;
  for (++at_; at_ < text_.size(); ++at_) {
    const char c = text_[at_];
    if (c == '"') {
      in_quotes = text_.substr(from, ++at_ - from);
      return true;
    }
    if (static_cast<unsigned char>(c) < 0x20) return false;
    if (c != '\\') continue;
    if (++at_ >= text_.size()) return false;
    if (text_[at_] == 'u') {
      if (text_.size() - at_ < 5) return false;
      for (int i = 0; i < 4; ++i)
        if (!is_hex(text_[++at_])) return false;
    } else if (std::string_view("\"\\/bfnrt").find(text_[at_]) == std::string_view::npos) {
      return false;
    }
  }
  return false;
}

bool JsonSkip::value() {
  space();
  if (at_ >= text_.size()) return false;
  std::string_view ignored;
  switch (text_[at_]) {
    case '"': return string(ignored);
    case 't': return literal("true");
    case 'f': return literal("false");
    case 'n': return literal("null");
    case '{':
    case '[': {
      if (depth_left_ == 0) return false;
      --depth_left_;
      const bool sound = text_[at_] == '{' ? members() : items();
      ++depth_left_;
      return sound;
    }
    default: return number();
  }
}

bool JsonSkip::members() {
  ++at_;
  if (take('}')) return true;
  do {
    std::string_view name;
    if (!string(name) || !take(':') || !value()) return false;
  } while (take(','));
  return take('}');
}

bool JsonSkip::items() {
  ++at_;
  if (take(']')) return true;
  do {
    if (!value()) return false;
  } while (take(','));
  return take(']');
}

}  // namespace fused
