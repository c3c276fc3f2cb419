// The instance types that a client may name (client-protocol.md §2.3): here a type is the most that a job may use of
// this machine, not a machine of its own.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "jobs/job.hpp"

namespace fused {

struct InstanceType {
  std::string_view name;
  int cores;
  int memory_gib;
};

inline constexpr int kJobHoursMax = 1'000;           // of every type
inline constexpr std::int64_t kJobDiskGibMax = 100;  // where disk_size_gb is not given
inline constexpr std::string_view kDefaultInstanceType = "small";

std::span<const InstanceType> instance_types();
// "" is the default. invalid_argument lists the types, and says which may have been meant.
Result<InstanceType> find_instance_type(std::string_view name);

struct Machine {
  int cores = 1;
  std::int64_t memory_bytes = 0;  // for jobs
  std::int64_t disk_bytes = 0;
};

struct JobLimits {
  int cores = 1;  // tasks at once
  std::int64_t memory_bytes = 0;
  std::int64_t disk_bytes = 0;
  int hours = kJobHoursMax;
  std::vector<std::string> cuts;  // for people, where the machine has less: "m5.large has 8 GiB memory, this machine 4"
};

// What the job may use here. `strict`: refused (unprocessable) instead of cut.
Result<JobLimits> limits_on(const Machine& machine, const InstanceType& type, std::optional<std::int64_t> disk_size_gb,
                            bool strict);

// What one task of the job holds while it runs. A core each; processors are shared by time, memory is not: it is
// divided among the tasks that run at once, of which there are no more than the widest step has.
struct TaskShare {
  Share share;
  int parallel_max = 1;
};
TaskShare task_share(const JobLimits& limits, const std::vector<StepPlan>& steps);

}  // namespace fused
