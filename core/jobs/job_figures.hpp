// What jobs have come to, for /health and /metrics.
#pragma once
#include <cstdint>

#include "jobs/job_log.hpp"
#include "jobs/scheduler.hpp"

namespace fused {

struct JobFigures {
  SchedulerFigures scheduler;
  JobLogFigures log;
  std::uint64_t submitted = 0;
  std::uint64_t done = 0, failed = 0, canceled = 0;  // since the start
};

}  // namespace fused
