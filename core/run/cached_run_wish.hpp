// What a call says about the cache: query names `cache_max_age` (seconds or "48h"; 0: not from the cache and not into
// it; the official client sends cache=False so), `cache_reset` (compute and store anew) and `explain_cache`.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace fused {

struct CacheWish {
  std::optional<std::int64_t> max_age_seconds;
  bool reset = false;
  bool explain = false;  // tell what the cache would do, and run nothing
};

// invalid_argument names the value seen and the values allowed.
Result<CacheWish> cache_wish_of(const std::vector<std::pair<std::string, std::string>>& query);

}  // namespace fused
