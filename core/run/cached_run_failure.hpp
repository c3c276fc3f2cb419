// Failures in the cache, where the function asks for it by @fused.udf(cache_errors="10s"): the error of its own code,
// not that of a machine (time, memory, a crash, a queue).
#pragma once
#include <string>
#include <string_view>

#include "run/outcome.hpp"

namespace fused {

inline constexpr std::int64_t kCacheErrorsSecondsMax = 3'600;
inline constexpr std::string_view kFailureType = "application/x-fused-failure";  // content type of such an entry

bool is_failure_of_code(const RunOutcome& outcome);
// What a stored failure has beside status and metadata, as its entry's body; `restore_failure` reads it into `outcome`
// and is false for another text.
std::string failure_text(const RunOutcome& outcome);
bool restore_failure(std::string_view text, RunOutcome& outcome);

}  // namespace fused
