// What the scheduler must know of a job, as the text of one column.
#pragma once
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "jobs/job.hpp"

namespace fused {

// {"steps":[{"tasks","parallel_max","ignore_chunk_error"}],"share":{"cores","memory_bytes"},"parallel_max",
// "run_ms_max","retries":{"function_max","platform_max"}}
std::string plan_json(const JobSpec& job);
Status read_plan(std::string_view text, JobSpec& job);

}  // namespace fused
