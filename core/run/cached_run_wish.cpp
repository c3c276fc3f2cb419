#include "run/cached_run_wish.hpp"

#include <charconv>

#include "base/duration.hpp"

namespace fused {
namespace {

constexpr std::int64_t kMaxSeconds = 36'500LL * 86'400;

Result<std::int64_t> age_of(std::string_view text) {
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc{} && end == text.data() + text.size() && seconds >= 0 && seconds <= kMaxSeconds)
    return seconds;
  const auto parsed = parse_duration(text);
  if (parsed) return parsed->count();
  return fail(ErrorKind::invalid_argument,
              "cache_max_age " + parsed.error().message + "; a number alone is seconds, 0 means no cache");
}

Result<bool> yes_or_no(std::string_view name, std::string_view text) {
  if (text == "1" || text == "true" || text == "True" || text.empty()) return true;
  if (text == "0" || text == "false" || text == "False") return false;
  return fail(ErrorKind::invalid_argument,
              std::string(name) + " is '" + std::string(text.substr(0, 40)) + "'; it must be true or false");
}

}  // namespace

Result<CacheWish> cache_wish_of(const std::vector<std::pair<std::string, std::string>>& query) {
  CacheWish wish;
  for (const auto& [name, text] : query) {
    if (name == "cache_max_age" && !text.empty() && text != "None") wish.max_age_seconds = FUSED_TRY(age_of(text));
    if (name == "cache_reset") wish.reset = FUSED_TRY(yes_or_no(name, text));
    if (name == "explain_cache") wish.explain = FUSED_TRY(yes_or_no(name, text));
  }
  return wish;
}

}  // namespace fused
