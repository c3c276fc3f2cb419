#include "jobs/scheduler.hpp"

#include <algorithm>

#include "jobs/scheduler_state.hpp"

namespace fused {
namespace {

constexpr std::int64_t kTasksMax = 10'000'000;

std::string text_of(const Share& share) {
  return std::to_string(share.cores) + (share.cores == 1 ? " core and " : " cores and ") +
         std::to_string(share.memory_bytes >> 20) + " MiB";
}

Status check(const JobSpec& job, const Share& machine) {
  const std::string what = "job '" + job.name + "'";
  if (job.id.empty()) return fail(ErrorKind::invalid_argument, what + " has no id");
  if (job.steps.empty()) return fail(ErrorKind::invalid_argument, what + " has no steps; it needs at least one");
  for (const StepPlan& step : job.steps)
    if (step.tasks < 1 || step.tasks > kTasksMax)
      return fail(ErrorKind::invalid_argument, what + ": a step has " + std::to_string(step.tasks) +
                                                   " tasks; allowed are 1 to " + std::to_string(kTasksMax));
  if (job.parallel_max < 1)
    return fail(ErrorKind::invalid_argument,
                what + " may run " + std::to_string(job.parallel_max) + " tasks at once; at least 1 is needed");
  const Share& share = job.task_share;
  if (share.cores < 1 || share.memory_bytes < 0 || share.cores > machine.cores ||
      share.memory_bytes > machine.memory_bytes)
    return fail(ErrorKind::invalid_argument,
                what + " asks for " + text_of(share) + " a task; this machine has " + text_of(machine) + " for jobs");
  return {};
}

}  // namespace

Scheduler::Scheduler(SchedulerRules rules, const Clock& clock, JobStore& store, Launcher& launcher)
    : rules_(rules),
      clock_(clock),
      store_(store),
      launcher_(launcher),
      jitter_(rules.jitter_seed),
      queue_(rules.fair) {}

Scheduler::~Scheduler() = default;

Status Scheduler::begin() {
  Recovered recovered = FUSED_TRY(store_.begin_epoch());
  epoch_ = recovered.epoch;
  for (const LeftOver& process : recovered.left_over) launcher_.kill_left_over(process);
  for (OpenJob& found : recovered.jobs) {
    Job& job = open(std::move(found));
    FUSED_CHECK(end_worn_out(job));
  }
  start_what_fits();
  return {};
}

Scheduler::Job& Scheduler::open(OpenJob found) {
  auto made = std::make_unique<Job>();
  Job& job = *made;
  job.spec = std::move(found.spec);
  job.state = found.state;
  job.started = found.started_tasks;
  job.finished = found.finished_tasks;
  // The machine may have been larger when the job was submitted.
  job.spec.task_share.cores = std::min(job.spec.task_share.cores, rules_.machine.cores);
  job.spec.task_share.memory_bytes = std::min(job.spec.task_share.memory_bytes, rules_.machine.memory_bytes);
  job.place = {job.spec.priority, ++order_};
  std::int64_t end = 0;
  for (const StepPlan& step : job.spec.steps) job.step_ends.push_back(end += step.tasks);
  for (const UnfinishedTask& task : found.unfinished) {
    job.unfinished.emplace(task.number, task);
    job.again.insert(task.number);
  }
  jobs_.emplace(job.spec.id, std::move(made));
  if (job.state == JobState::running && job.spec.run_max.count() > 0) {
    // The wall clock may have jumped meanwhile: never more time than it had at first, never less than none.
    const WallTime::duration limit = job.spec.run_max;
    const auto left = limit - std::clamp(clock_.now() - found.started_at, WallTime::duration::zero(), limit);
    job.deadline = clock_.steady() + left;
    deadlines_.insert({job.deadline, job.spec.id});
  }
  place(job);
  return job;
}

Status Scheduler::end_worn_out(const Job& job) {
  for (const auto& [number, task] : job.unfinished) {
    if (task.attempts - task.function_failures - task.platform_failures < rules_.interruptions_max) continue;
    const std::string id = job.spec.id;
    const std::string error = "task " + std::to_string(number) + " was interrupted " + std::to_string(task.attempts) +
                              " times by an end of the server; it is not tried again";
    FUSED_CHECK(store_.end_job(id, JobState::failed, error, clock_.now()));
    end_job(id);
    return {};
  }
  return {};
}

Status Scheduler::check_open(const JobSpec& job) const {
  FUSED_CHECK(check(job, rules_.machine));
  if (job.total_tasks() > kTasksMax)
    return fail(ErrorKind::invalid_argument, "job '" + job.name + "' has " + std::to_string(job.total_tasks()) +
                                                 " tasks; at most " + std::to_string(kTasksMax) + " are allowed");
  if (jobs_.contains(job.id)) return fail(ErrorKind::conflict, "a job with the id " + job.id + " is there already");
  if (jobs_.size() >= rules_.open_jobs_max)
    return fail(ErrorKind::too_many_requests, std::to_string(jobs_.size()) + " jobs are open, which is the most; try " +
                                                  "again when some have ended");
  return {};
}

Status Scheduler::submit(JobSpec job) {
  FUSED_CHECK(check_open(job));
  FUSED_CHECK(store_.add(job));
  OpenJob added;
  added.spec = std::move(job);
  open(std::move(added));
  start_what_fits();
  return {};
}

Status Scheduler::cancel(const std::string& job_id) {
  const auto none = [&] {
    return fail(ErrorKind::not_found, "no open job has the id " + job_id + ": it has ended, or there never was one");
  };
  if (!jobs_.contains(job_id)) return none();
  const bool ended = FUSED_TRY(store_.end_job(job_id, JobState::canceled, "", clock_.now()));
  end_job(job_id);
  start_what_fits();
  return ended ? Status() : none();
}

void Scheduler::heartbeat(AttemptId id) {
  const auto found = attempts_.find(id);
  if (found == attempts_.end() || !found->second->has_lease || found->second->outcome) return;
  Attempt& attempt = *found->second;
  leases_.erase({attempt.lease_until, id});
  attempt.lease_until = clock_.steady() + rules_.lease;
  leases_.insert({attempt.lease_until, id});
  jobs_.at(attempt.start.job_id)->last_heartbeat = clock_.now();
}

Told Scheduler::finished(AttemptId id, AttemptOutcome outcome) {
  const auto found = attempts_.find(id);
  if (found == attempts_.end() || !found->second->has_lease ||
      (found->second->outcome && found->second->outcome->end == AttemptEnd::lost)) {
    ++counts_.fenced;
    return Told::late;
  }
  Attempt& attempt = *found->second;
  if (attempt.outcome) return Told::kept;
  leases_.erase({attempt.lease_until, id});
  attempt.outcome = std::move(outcome);
  const Told told = settle(id);
  start_what_fits();
  return told;
}

void Scheduler::exited(AttemptId id, AttemptEnd unless_finished, std::string error) {
  const auto found = attempts_.find(id);
  if (found != attempts_.end() && found->second->process_gone) return;
  store_.gone(id);
  if (found == attempts_.end()) return;  // left over
  Attempt& attempt = *found->second;
  release(attempt, clock_.steady());
  if (attempt.has_lease && !attempt.outcome) {
    leases_.erase({attempt.lease_until, id});
    attempt.outcome = AttemptOutcome{unless_finished, {}, std::move(error)};
    settle(id);
  } else {
    forget_if_over(id);
  }
  start_what_fits();
}

void Scheduler::tick() {
  const SteadyTime now = clock_.steady();
  end_overdue(now);
  end_lost(now);
  take_up_retries(now);
  ask_store_again(now);
  start_what_fits();
}

std::optional<SteadyTime> Scheduler::next_due() const {
  std::optional<SteadyTime> due = store_again_;
  const auto sooner = [&](SteadyTime time) { due = due ? std::min(*due, time) : time; };
  if (!leases_.empty()) sooner(leases_.begin()->first);
  if (!retries_.empty()) sooner(retries_.begin()->first);
  if (!deadlines_.empty()) sooner(deadlines_.begin()->first);
  return due;
}

std::optional<JobView> Scheduler::view(const std::string& job_id) const {
  const auto found = jobs_.find(job_id);
  if (found == jobs_.end()) return std::nullopt;
  const Job& job = *found->second;
  JobView view{job.state, job.spec.total_tasks(), job.finished, {}, job.last_heartbeat, false};
  view.running.assign(job.running.begin(), job.running.end());
  view.waits_for_retry = job.running.empty() && job.again.empty() && !job.later.empty();
  return view;
}

SchedulerFigures Scheduler::figures() const {
  SchedulerFigures figures = counts_;
  figures.open_jobs = jobs_.size();
  figures.processes = static_cast<std::size_t>(
      std::count_if(attempts_.begin(), attempts_.end(), [](const auto& each) { return !each.second->process_gone; }));
  figures.in_use = in_use_;
  return figures;
}

}  // namespace fused
