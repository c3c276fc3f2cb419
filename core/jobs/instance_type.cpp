#include "jobs/instance_type.hpp"

#include <algorithm>
#include <array>

#include "base/nearest.hpp"

namespace fused {
namespace {

constexpr std::int64_t kGib = std::int64_t{1} << 30;

constexpr std::array kTypes{
    InstanceType{"small", 2, 2},
    InstanceType{"medium", 16, 64},
    InstanceType{"large", 64, 512},
    InstanceType{"m5.large", 2, 8},
    InstanceType{"m5.xlarge", 4, 16},
    InstanceType{"m5.2xlarge", 8, 32},
    InstanceType{"m5.4xlarge", 16, 64},
    InstanceType{"m5.8xlarge", 32, 128},
    InstanceType{"m5.12xlarge", 48, 192},
    InstanceType{"m5.16xlarge", 64, 256},
    InstanceType{"r5.large", 2, 16},
    InstanceType{"r5.xlarge", 4, 32},
    InstanceType{"r5.2xlarge", 8, 64},
    InstanceType{"r5.4xlarge", 16, 128},
    InstanceType{"r5.8xlarge", 32, 256},
    InstanceType{"r5.12xlarge", 48, 384},
    InstanceType{"r5.16xlarge", 64, 512},
    InstanceType{"t3.small", 2, 2},
    InstanceType{"t3.medium", 2, 4},
    InstanceType{"t3.large", 2, 8},
    InstanceType{"t3.xlarge", 4, 16},
    InstanceType{"t3.2xlarge", 8, 32},
    InstanceType{"c2-standard-4", 4, 16},
    InstanceType{"c2-standard-8", 8, 32},
    InstanceType{"c2-standard-16", 16, 64},
    InstanceType{"c2-standard-30", 30, 120},
    InstanceType{"c2-standard-60", 60, 240},
    InstanceType{"m3-ultramem-32", 32, 976},
    InstanceType{"m3-ultramem-64", 64, 1952},
    InstanceType{"agent", 2, 2},  // a name of the client without a published size: as small
};

std::string gib(std::int64_t bytes) {
  const std::int64_t tenths = bytes * 10 / kGib;
  return std::to_string(tenths / 10) + (tenths % 10 == 0 ? "" : "." + std::to_string(tenths % 10)) + " GiB";
}

}  // namespace

std::span<const InstanceType> instance_types() { return kTypes; }

Result<InstanceType> find_instance_type(std::string_view name) {
  if (name.empty()) name = kDefaultInstanceType;
  for (const InstanceType& type : kTypes)
    if (type.name == name) return type;
  std::vector<std::string> names;
  std::string list;
  for (const InstanceType& type : kTypes) {
    names.emplace_back(type.name);
    list += (list.empty() ? "" : ", ") + names.back();
  }
  std::string message = "instance_type '" + std::string(name.substr(0, 60)) + "' is unknown";
  if (name == "realtime")
    message = "instance_type 'realtime' is a run that is answered, not a job";
  else if (const std::string meant = nearest(name, names); !meant.empty())
    message += "; did you mean '" + meant + "'?";
  return fail(ErrorKind::invalid_argument,
              message + (message.back() == '?' ? " The types are " : "; the types are ") + list);
}

Result<JobLimits> limits_on(const Machine& machine, const InstanceType& type, std::optional<std::int64_t> disk_size_gb,
                            bool strict) {
  if (disk_size_gb && (*disk_size_gb < 1 || *disk_size_gb > 16'384))
    return fail(ErrorKind::invalid_argument,
                "disk_size_gb is " + std::to_string(*disk_size_gb) + "; allowed are 1 to 16384");
  const std::string name(type.name);
  const std::int64_t memory = type.memory_gib * kGib;
  const std::int64_t disk = disk_size_gb.value_or(kJobDiskGibMax) * kGib;
  JobLimits limits;
  limits.cores = std::max(1, std::min(type.cores, machine.cores));
  limits.memory_bytes = std::min(memory, machine.memory_bytes);
  limits.disk_bytes = std::min(disk, machine.disk_bytes);
  if (limits.cores < type.cores)
    limits.cuts.push_back(name + " has " + std::to_string(type.cores) + " cores, this machine has " +
                          std::to_string(machine.cores) + " for jobs");
  if (limits.memory_bytes < memory)
    limits.cuts.push_back(name + " has " + gib(memory) + " memory, this machine has " + gib(machine.memory_bytes) +
                          " for jobs");
  // Without disk_size_gb nobody has asked for so much.
  if (disk_size_gb && limits.disk_bytes < disk)
    limits.cuts.push_back("disk_size_gb is " + std::to_string(*disk_size_gb) + ", this machine has " +
                          gib(machine.disk_bytes) + " for jobs");
  if (!strict || limits.cuts.empty()) return limits;
  std::string message;
  for (const std::string& cut : limits.cuts) message += (message.empty() ? "" : "; ") + cut;
  return fail(ErrorKind::unprocessable, message + "; this server was started with --strict-instances and refuses it");
}

TaskShare task_share(const JobLimits& limits, const std::vector<StepPlan>& steps) {
  std::int64_t widest = 1;
  for (const StepPlan& step : steps) {
    const std::int64_t at_once =
        step.parallel_max > 0 ? std::min<std::int64_t>(step.parallel_max, step.tasks) : step.tasks;
    widest = std::max(widest, at_once);
  }
  TaskShare task;
  task.parallel_max = static_cast<int>(std::min<std::int64_t>(limits.cores, widest));
  task.share = {1, limits.memory_bytes / task.parallel_max};
  return task;
}

}  // namespace fused
