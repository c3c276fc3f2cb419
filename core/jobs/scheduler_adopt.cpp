// Of Scheduler: a job whose only task runs already.
#include <algorithm>

#include "jobs/scheduler_state.hpp"

namespace fused {

Result<AttemptStart> Scheduler::adopt(JobSpec job) {
  if (draining_) return fail(ErrorKind::unavailable, "the server is stopping");
  job.task_share.cores = 1;
  job.task_share.memory_bytes = std::min(job.task_share.memory_bytes, rules_.machine.memory_bytes);
  FUSED_CHECK(check_open(job));
  if (job.total_tasks() != 1)
    return fail(ErrorKind::invalid_argument, "a run is one task; this job has " + std::to_string(job.total_tasks()));
  if (adopted_ >= rules_.machine.cores)
    return fail(ErrorKind::too_many_requests,
                std::to_string(adopted_) +
                    " runs that went on as jobs are running, which is the most: one for each of "
                    "the cores that jobs have");
  const SteadyTime now = clock_.steady();
  const std::string id = job.id;
  OpenJob added;
  added.spec = job;
  Job& opened = open(std::move(added));
  const AttemptStart start = take(opened, now);
  if (Status kept = store_.adopt(job, start); !kept) {
    undo(start, now);
    if (opened.in_queue) queue_.remove(opened.spec.user_id, opened.place);
    jobs_.erase(id);
    return std::unexpected(kept.error());
  }
  Attempt& attempt = *attempts_.at(start.id);
  attempt.is_adopted = true;
  ++adopted_;
  attempt.lease_until = now + rules_.lease;
  leases_.insert({attempt.lease_until, start.id});
  if (opened.spec.run_max.count() > 0) {
    opened.deadline = now + opened.spec.run_max;
    deadlines_.insert({opened.deadline, id});
  }
  return start;
}

}  // namespace fused
