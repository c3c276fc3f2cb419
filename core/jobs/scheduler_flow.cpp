// Of Scheduler: what is started, and what an attempt's end makes of its task and job.
#include <algorithm>
#include <utility>

#include "jobs/scheduler_state.hpp"

namespace fused {

void Scheduler::place(Job& job) {
  const bool ready = job.next_task().has_value();
  if (ready == job.in_queue) return;
  job.in_queue = ready;
  if (ready) {
    queue_.add(job.spec.user_id, job.place, job.spec.id);
  } else {
    queue_.remove(job.spec.user_id, job.place);
    job.refused_since.reset();
  }
}

Scheduler::Job* Scheduler::choose(SteadyTime now) {
  const auto fits = [&](const Job& job) {
    const Share& share = job.spec.task_share;
    return in_use_.cores + share.cores <= rules_.machine.cores &&
           in_use_.memory_bytes + share.memory_bytes <= rules_.machine.memory_bytes;
  };
  if (const auto held = jobs_.find(holder_); held != jobs_.end() && held->second->in_queue)
    return fits(*held->second) ? held->second.get() : nullptr;
  holder_.clear();
  if (in_use_.cores >= rules_.machine.cores) return nullptr;
  const auto may_start = [&](const std::string& id) {
    Job& job = *jobs_.at(id);
    if (fits(job)) return true;
    if (!job.refused_since) job.refused_since = now;
    if (holder_.empty() && now - *job.refused_since >= rules_.patience) holder_ = id;
    return false;
  };
  const std::optional<std::string> chosen = queue_.choose(now, may_start);
  if (!chosen || !holder_.empty()) return nullptr;
  return jobs_.at(*chosen).get();
}

AttemptStart Scheduler::take(Job& job, SteadyTime now) {
  const std::int64_t number = *job.next_task();
  UnfinishedTask& task = job.unfinished[number];
  task.number = number;
  ++task.attempts;
  if (!job.again.erase(number)) job.started = number + 1;
  const std::size_t step = job.step_of(number);
  AttemptStart start;
  start.id = (epoch_ << 32) | ++serial_;
  start.job_id = job.spec.id;
  start.task = number;
  start.step = static_cast<int>(step);
  start.number_in_step = number - job.first_of(step);
  start.attempt = task.attempts;
  start.share = job.spec.task_share;
  start.job_begins = job.state == JobState::pending;
  start.started_at = clock_.now();
  auto attempt = std::make_unique<Attempt>();
  attempt->start = start;
  attempt->user = job.spec.user_id;
  attempt->began = now;
  attempts_.emplace(start.id, std::move(attempt));
  job.state = JobState::running;
  job.running.insert(start.id);
  job.refused_since.reset();
  if (holder_ == start.job_id) holder_.clear();
  in_use_.cores += start.share.cores;
  in_use_.memory_bytes += start.share.memory_bytes;
  queue_.took(job.spec.user_id, start.share.cores, now);
  place(job);
  return start;
}

void Scheduler::undo(const AttemptStart& start, SteadyTime now) {
  Job& job = *jobs_.at(start.job_id);
  Attempt& attempt = *attempts_.at(start.id);
  release(attempt, now);
  job.running.erase(start.id);
  attempts_.erase(start.id);
  if (start.job_begins) job.state = JobState::pending;
  if (start.attempt == 1) {
    job.unfinished.erase(start.task);
    job.started = start.task;
  } else {
    --job.unfinished.at(start.task).attempts;
    job.again.insert(start.task);
  }
  place(job);
}

void Scheduler::start_what_fits() {
  const SteadyTime now = clock_.steady();
  if (draining_ || (store_again_ && now < *store_again_)) return;
  std::vector<AttemptStart> starts;
  while (Job* job = choose(now)) starts.push_back(take(*job, now));
  if (starts.empty()) return;
  if (!store_.start(starts)) {
    // Backwards, so that the first of a job is again its first.
    for (auto start = starts.rbegin(); start != starts.rend(); ++start) undo(*start, now);
    ask_store_later();
    return;
  }
  for (const AttemptStart& start : starts) {
    Attempt& attempt = *attempts_.at(start.id);
    attempt.lease_until = now + rules_.lease;
    leases_.insert({attempt.lease_until, start.id});
    Job& job = *jobs_.at(start.job_id);
    if (start.job_begins && job.spec.run_max.count() > 0) {
      job.deadline = now + job.spec.run_max;
      deadlines_.insert({job.deadline, start.job_id});
    }
    launcher_.start(start, job.spec);
  }
}

AttemptRecord Scheduler::record_of(const Attempt& attempt) const {
  const Job& job = *jobs_.at(attempt.start.job_id);
  const UnfinishedTask& task = job.unfinished.at(attempt.start.task);
  const AttemptOutcome& outcome = *attempt.outcome;
  AttemptRecord record;
  record.id = attempt.start.id;
  record.job_id = attempt.start.job_id;
  record.task = attempt.start.task;
  record.end = outcome.end;
  record.function_failures = task.function_failures + (outcome.end == AttemptEnd::failed ? 1 : 0);
  record.platform_failures = task.platform_failures + (is_platform_failure(outcome.end) ? 1 : 0);
  record.result_path = outcome.result_path;
  record.error = outcome.error;
  record.ended_at = clock_.now();
  if (outcome.end == AttemptEnd::failed && record.function_failures <= job.spec.retries.function_max)
    record.task_state = TaskState::pending;
  else if (is_platform_failure(outcome.end) && record.platform_failures <= job.spec.retries.platform_max)
    record.task_state = TaskState::pending;
  else if (outcome.end != AttemptEnd::done)
    record.task_state = TaskState::failed;
  const StepPlan& step = job.spec.steps[static_cast<std::size_t>(attempt.start.step)];
  if (record.task_state == TaskState::failed && !step.ignore_chunk_error) {
    record.job_state = JobState::failed;
    record.job_error = "task " + std::to_string(record.task) + " " + std::string(word(outcome.end)) +
                       (outcome.error.empty() ? "" : ": " + outcome.error);
  } else if (record.task_state != TaskState::pending && job.finished + 1 == job.spec.total_tasks()) {
    record.job_state = JobState::done;
  }
  return record;
}

Told Scheduler::settle(AttemptId id) {
  Attempt& attempt = *attempts_.at(id);
  const AttemptRecord record = record_of(attempt);
  const Result<bool> written = store_.record(record);
  if (!written) {
    unrecorded_.insert(id);
    ask_store_later();
    return Told::kept;
  }
  if (!*written) {
    // Only another writer of the store could have done it. What the store says holds: the next life reads it.
    ++counts_.fenced;
    end_job(record.job_id);
    return Told::late;
  }
  ++counts_.recorded;
  apply(record);
  return Told::recorded;
}

void Scheduler::apply(const AttemptRecord& record) {
  Job& job = *jobs_.at(record.job_id);
  take_lease(*attempts_.at(record.id));
  forget_if_over(record.id);
  if (record.task_state == TaskState::pending) {
    UnfinishedTask& task = job.unfinished.at(record.task);
    task.function_failures = record.function_failures;
    task.platform_failures = record.platform_failures;
    const SteadyTime at = clock_.steady() + back_off(record.function_failures + record.platform_failures);
    job.later.insert({at, record.task});
    retries_.insert({at, record.job_id});
  } else {
    job.unfinished.erase(record.task);
    ++job.finished;
  }
  if (record.job_state)
    end_job(record.job_id);
  else
    place(job);
}

void Scheduler::release(Attempt& attempt, SteadyTime now) {
  attempt.process_gone = true;
  if (attempt.is_adopted) --adopted_;
  in_use_.cores -= attempt.start.share.cores;
  in_use_.memory_bytes -= attempt.start.share.memory_bytes;
  queue_.gave_back(attempt.user, attempt.start.share.cores, attempt.began, now);
}

void Scheduler::take_lease(Attempt& attempt) {
  attempt.has_lease = false;
  leases_.erase({attempt.lease_until, attempt.start.id});
  unrecorded_.erase(attempt.start.id);
  jobs_.at(attempt.start.job_id)->running.erase(attempt.start.id);
}

void Scheduler::forget_if_over(AttemptId id) {
  const auto found = attempts_.find(id);
  if (found != attempts_.end() && found->second->process_gone && !found->second->has_lease) attempts_.erase(found);
}

void Scheduler::end_job(const std::string& job_id) {
  const std::string id = job_id;  // may be part of what is erased
  Job& job = *jobs_.at(id);
  const std::set<AttemptId> running = job.running;
  for (const AttemptId each : running) {
    Attempt& attempt = *attempts_.at(each);
    take_lease(attempt);
    if (!attempt.process_gone) launcher_.kill(each);
    forget_if_over(each);
  }
  for (const auto& [at, number] : job.later) retries_.erase({at, id});
  deadlines_.erase({job.deadline, id});
  if (job.in_queue) queue_.remove(job.spec.user_id, job.place);
  jobs_.erase(id);
}

void Scheduler::end_lost(SteadyTime now) {
  if (leases_.empty() || leases_.begin()->first > now) return;
  const bool is_late = now - leases_.begin()->first > rules_.lease / 2;
  std::vector<AttemptId> expired;
  for (const auto& [until, id] : leases_)
    if (until <= now) expired.push_back(id);
  for (const AttemptId id : expired) {
    const auto found = attempts_.find(id);
    if (found == attempts_.end() || !found->second->has_lease) continue;  // its job ended with one before it
    Attempt& attempt = *found->second;
    leases_.erase({attempt.lease_until, id});
    if (is_late) {
      attempt.lease_until = now + rules_.lease;
      leases_.insert({attempt.lease_until, id});
      continue;
    }
    ++counts_.lost;
    const auto seconds = std::chrono::duration<double>(rules_.lease).count();
    attempt.outcome =
        AttemptOutcome{AttemptEnd::lost, {}, "no sign of life for " + std::to_string(static_cast<int>(seconds)) + " s"};
    launcher_.kill(id);
    settle(id);
  }
}

void Scheduler::end_overdue(SteadyTime now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const std::string id = deadlines_.begin()->second;
    Job& job = *jobs_.at(id);
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(job.spec.run_max).count();
    const std::string error = "it ran longer than its limit of " + std::to_string(seconds) + " s";
    if (store_.end_job(id, JobState::failed, error, clock_.now())) {
      end_job(id);
      continue;
    }
    ask_store_later();
    deadlines_.erase(deadlines_.begin());
    job.deadline = now + rules_.store_retry;
    deadlines_.insert({job.deadline, id});
  }
}

void Scheduler::take_up_retries(SteadyTime now) {
  while (!retries_.empty() && retries_.begin()->first <= now) {
    const auto [at, job_id] = *retries_.begin();
    retries_.erase(retries_.begin());
    Job& job = *jobs_.at(job_id);
    while (!job.later.empty() && job.later.begin()->first <= now) {
      job.again.insert(job.later.begin()->second);
      job.later.erase(job.later.begin());
    }
    place(job);
  }
}

void Scheduler::ask_store_again(SteadyTime now) {
  if (!store_again_ || now < *store_again_) return;
  store_again_.reset();
  const std::set<AttemptId> waiting = std::exchange(unrecorded_, {});
  for (const AttemptId id : waiting) {
    const auto found = attempts_.find(id);
    if (found == attempts_.end() || !found->second->has_lease) continue;  // its job ended with one before it
    if (settle(id) != Told::kept) continue;
    // One refusal is enough to know; the others wait with it.
    unrecorded_.insert(waiting.upper_bound(id), waiting.end());
    break;
  }
}

void Scheduler::ask_store_later() {
  ++counts_.store_failures;
  store_again_ = clock_.steady() + rules_.store_retry;
}

std::chrono::milliseconds Scheduler::back_off(int failures) {
  const int doublings = std::clamp(failures - 1, 0, 30);
  const auto most = std::min(rules_.retry_max, rules_.retry_first * (std::int64_t{1} << doublings));
  return std::chrono::milliseconds(static_cast<std::int64_t>(jitter_() % static_cast<std::uint64_t>(most.count() + 1)));
}

}  // namespace fused
