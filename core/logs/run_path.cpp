#include "logs/run_path.hpp"

#include "base/ids.hpp"

namespace fused {
namespace {

constexpr std::size_t kSegmentBytesMax = 200;  // file systems take 255; room for ".n" behind it
constexpr std::size_t kDigestDigits = 16;

bool stays(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '@' || c == '+' ||
         c == '-' || c == '_' || c == '.';
}

}  // namespace

std::string path_segment(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  if (text.empty()) return "%";
  std::string segment;
  std::size_t whole = 0;  // how much of it may stand before a digest
  for (std::size_t at = 0; at < text.size() && segment.size() <= kSegmentBytesMax; ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (stays(text[at]) && !(at == 0 && text[at] == '.')) {
      segment += text[at];
    } else {
      segment += '%';
      segment += kHex[byte >> 4];
      segment += kHex[byte & 15];
    }
    if (segment.size() <= kSegmentBytesMax - kDigestDigits - 1) whole = segment.size();
  }
  if (segment.size() <= kSegmentBytesMax) return segment;
  return segment.substr(0, whole) + "~" + sha256_hex(text).substr(0, kDigestDigits);
}

RunPath RunPath::of(const RunRecord& record) { return of(record.started, record.user_email, record.request_id); }

RunPath RunPath::of(WallTime started, std::string_view user_email, std::string_view request_id) {
  return {format_utc_date(started), format_utc_hhmm(started), path_segment(user_email), path_segment(request_id)};
}

std::string RunPath::as_seen_by_functions() const {
  return "/mount/fused-system/logs/" + date + "/" + hhmm + "/" + email + "/" + id;
}

}  // namespace fused
