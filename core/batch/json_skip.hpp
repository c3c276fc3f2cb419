// Steps over JSON values without making anything of them, and checks them as strictly as a parser would.
#pragma once
#include <cstddef>
#include <string_view>

namespace fused {

class JsonSkip {
 public:
  JsonSkip(std::string_view text, std::size_t depth_max) : text_(text), depth_left_(depth_max) {}

  std::size_t at() const { return at_; }
  bool is_at_end() {
    space();
    return at_ == text_.size();
  }
  bool take(char c);  // when it comes next
  bool sees(char c) {
    space();
    return at_ < text_.size() && text_[at_] == c;
  }
  // Each is false where what comes is none, or not well-formed.
  bool value();
  bool string(std::string_view& in_quotes);
  bool number();

 private:
  static constexpr std::size_t kNumberBytesMax = 1'000;  // Python refuses integers of more than 4,300 digits

  void space();
  bool literal(std::string_view word);
  bool digits();
  bool members();
  bool items();

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t depth_left_;
};

}  // namespace fused
