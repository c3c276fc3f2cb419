// How old a stored result is, and what that means: by the wall clock, which may be set back or run ahead.
#pragma once
#include <cstdint>

namespace fused {

inline constexpr std::int64_t kFutureSecondsMax = 86'400;  // an entry that is said to be made so much later is none

struct ResultAge {
  std::int64_t seconds = 0;  // never below 0: the clock was set back
  bool is_future = false;    // from a clock that ran ahead; not to be believed
  bool is_fresh = false;
  bool is_stale = false;  // too old, and may be answered while it is made anew
};

// A result of age 0 is not fresh where nothing may be cached (max_age 0).
inline ResultAge result_age(std::int64_t created_ms, std::int64_t now_ms, std::int64_t max_age_seconds,
                            std::int64_t stale_seconds) {
  ResultAge age;
  const std::int64_t seconds = (now_ms - created_ms) / 1000;
  age.seconds = seconds > 0 ? seconds : 0;
  age.is_future = seconds < -kFutureSecondsMax;
  age.is_fresh = !age.is_future && age.seconds < max_age_seconds;
  age.is_stale = !age.is_future && !age.is_fresh && age.seconds < max_age_seconds + stale_seconds;
  return age;
}

}  // namespace fused
