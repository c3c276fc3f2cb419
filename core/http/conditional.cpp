#include "http/conditional.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>

namespace fused {

std::string etag_of(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  std::string tag(34, '"');
  for (std::size_t i = 0; i < 16; ++i) {
    tag[1 + 2 * i] = kDigits[canonical.digest[i] >> 4];
    tag[2 + 2 * i] = kDigits[canonical.digest[i] & 15];
  }
  return tag;
}

std::string etag_with_coding(std::string_view etag, std::string_view coding) {
  std::string tag(etag.substr(0, etag.size() - 1));
  return tag.append("-").append(coding).append("\"");
}

bool none_match_hits(std::string_view if_none_match, std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  const auto base = etag.substr(0, etag.size() - 1);
  while (!if_none_match.empty()) {
    const auto end = if_none_match.find(',');
    auto item = if_none_match.substr(0, end);
    if_none_match = end == std::string_view::npos ? std::string_view{} : if_none_match.substr(end + 1);
    while (item.starts_with(' ') || item.starts_with('\t')) item.remove_prefix(1);
    while (item.ends_with(' ') || item.ends_with('\t')) item.remove_suffix(1);
    if (item == "*") return true;
    if (item.starts_with("W/")) item.remove_prefix(2);
    if (!item.starts_with(base)) continue;
    const auto rest = item.substr(base.size());
    for (const std::string_view ending : {"\"", "-gzip\"", "-br\"", "-zstd\""})
      if (rest == ending) return true;
  }
  return false;
}

}  // namespace fused
