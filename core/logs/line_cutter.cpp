#include "logs/line_cutter.hpp"

#include <algorithm>

namespace fused {

void LineCutter::feed(std::string_view bytes, const std::function<void(std::string_view)>& line) {
  while (!bytes.empty()) {
    const std::size_t feed = bytes.find('\n');
    const std::size_t room = kLineBytesMax - std::min(kLineBytesMax, part_.size());
    const std::size_t taken = std::min({feed, bytes.size(), room});
    part_.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (!bytes.empty() && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      give(line);
    } else if (part_.size() >= kLineBytesMax) {
      give(line);
    }
  }
}

void LineCutter::end(const std::function<void(std::string_view)>& line) {
  if (!part_.empty()) give(line);
}

void LineCutter::give(const std::function<void(std::string_view)>& line) {
  std::string_view text = part_;
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (const auto back = text.rfind('\r'); back != std::string_view::npos) text.remove_prefix(back + 1);
  line(text);
  part_.clear();
}

}  // namespace fused
