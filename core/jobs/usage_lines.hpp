// The lines of usage.jsonl: what tasks of a job used, sampled.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace fused {

// {"timestamp": ms, "task", "memory_bytes", "cpu_seconds"} and a line feed.
std::string usage_line(std::int64_t timestamp_ms, std::int64_t task, std::int64_t memory_bytes, double cpu_seconds);

// At most `bytes_max` of them, in their order: of two samples of a task that follow each other the one with less memory
// goes, again and again, so that what is left spans the whole job and peaks stay. Where every task has one sample left,
// every second line goes.
std::string thinned_usage(std::string_view lines, std::int64_t bytes_max);

}  // namespace fused
