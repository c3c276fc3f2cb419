// What a client submits: {name, steps, metadata} (client-protocol.md §2.3 and §3), parsed once, at the door.
#pragma once
#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "jobs/job.hpp"

namespace fused {

enum class StepKind { udf, partition_geospatial, partition_nongeospatial };

inline constexpr std::size_t kJobStepsMax = 100;
inline constexpr std::int64_t kStepProcessesMax = 1'024;
inline constexpr std::size_t kJobConfigBytesMax = 64 << 20;

struct JobStep {
  StepKind kind = StepKind::udf;
  std::string name;  // the step's, else its function's; may be empty
  bool ignore_chunk_error = false;
  int n_processes = 0;  // 0: as many as the job may
  // Of `udf`: how many items its input has; nothing: no input, the function runs once without arguments.
  std::optional<std::int64_t> inputs;
  boost::json::object source;  // as it was sent, unknown keys too

  std::int64_t tasks() const { return inputs.value_or(1); }
};

struct JobConfig {
  std::string name;
  std::vector<JobStep> steps;
  boost::json::object source;  // as it was sent: what file.json holds

  std::vector<StepPlan> plan() const;
};

// From the text of a file.json or of meta.json ({"version", "job_config": {…}}). invalid_argument names the place
// ("steps[1].input"), what it holds and what it may.
Result<JobConfig> parse_job_config(std::string_view text);
Result<JobConfig> check_job_config(boost::json::object config);

}  // namespace fused
