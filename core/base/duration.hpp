// Durations as users write them: "48h", "10s" (seed: udf, cache_max_age: "seconds (s), minutes (m), hours (h), and days
// (d)").
#pragma once
#include <chrono>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace fused {

// Whole number and one unit of s, m, h, d; no sign, no spaces, at most 36,500 days. invalid_argument names the text
// seen.
Result<std::chrono::seconds> parse_duration(std::string_view text);
// The shortest such text: 7200 s → "2h".
std::string format_duration(std::chrono::seconds duration);

}  // namespace fused
