// Bytes of one stream as lines. What a carriage return has overwritten is not a line.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace fused {

class LineCutter {
 public:
  static constexpr std::size_t kLineBytesMax = 16 << 10;  // a longer one is several

  void feed(std::string_view bytes, const std::function<void(std::string_view line)>& line);
  void end(const std::function<void(std::string_view line)>& line);  // what is left of a last line
  const std::string& part() const { return part_; }                  // of a line that has not ended

 private:
  void give(const std::function<void(std::string_view line)>& line);
  std::string part_;
};

}  // namespace fused
