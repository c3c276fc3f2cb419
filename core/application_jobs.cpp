#include "application_jobs.hpp"

#include <unistd.h>

#include <thread>

namespace fused {
namespace {

constexpr std::int64_t kMemoryBytesMin = 512LL << 20;

JobServiceOptions options_of(const Settings& settings, const RayJobs& ray) {
  JobServiceOptions options;
  options.machine.cores =
      settings.job_cores > 0 ? settings.job_cores : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  // Half of the machine: requests and the system need some too.
  const std::int64_t machine =
      static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::int64_t>(::sysconf(_SC_PAGESIZE));
  options.machine.memory_bytes =
      settings.job_memory_bytes > 0 ? settings.job_memory_bytes : std::max(machine / 2, kMemoryBytesMin);
  options.strict_instances = settings.strict_instances;
  options.lease = std::chrono::milliseconds(settings.job_lease_ms);
  options.limits = settings.limits;
  options.recursion_max = settings.recursion_max;
  if (!ray.is_on()) return options;
  options.remote = ray.workers.get();
  options.task_memory_max = ray.cluster.node_memory_bytes;
  if (settings.job_cores == 0) options.machine.cores = std::max(1, ray.cluster.cores);
  if (settings.job_memory_bytes == 0) options.machine.memory_bytes = ray.cluster.memory_bytes;
  return options;
}

}  // namespace

Result<std::unique_ptr<Jobs>> Jobs::open(boost::asio::io_context& io, State& state, const Settings& settings,
                                         RunService& runs, const RayJobs& ray, HistoryOutbox& outbox,
                                         const Clock& clock) {
  auto jobs = std::make_unique<Jobs>();
  jobs->service = FUSED_TRY(JobService::open(io, state.thread, *state.database, *state.data, *state.people, runs, clock,
                                             options_of(settings, ray)));
  jobs->service->on_config = [&outbox](const std::string& path) { outbox.add({path}); };
  runs.set_promoter([service = jobs->service.get()](LongRun run) { return service->promote(std::move(run)); });
  jobs->parts = {jobs->service.get(), &clock};
  FUSED_CHECK(jobs->service->start());
  return jobs;
}

boost::json::object health_of(const JobFigures& f) {
  const SchedulerFigures& s = f.scheduler;
  return {{"open", s.open_jobs},
          {"processes", s.processes},
          {"cores_in_use", s.in_use.cores},
          {"memory_bytes_in_use", s.in_use.memory_bytes},
          {"submitted", f.submitted},
          {"done", f.done},
          {"failed", f.failed},
          {"canceled", f.canceled},
          {"recorded", s.recorded},
          {"late", s.fenced},
          {"lost", s.lost},
          {"store_failures", s.store_failures},
          {"log_lines", f.log.lines},
          {"log_lines_dropped", f.log.dropped}};
}

}  // namespace fused
