// For tests: a JobStore in memory that survives its scheduler, fails and kills on order, and refuses by an entry in
// `broken` what must never be asked of a store.
#pragma once
#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "jobs/scheduler_parts.hpp"

namespace fused {

struct ServerKilled {};  // thrown where a simulated server ends
enum class StoreFault { none, fails, killed_before, killed_after };

class MemoryJobStore : public JobStore {
 public:
  struct TaskRow {
    TaskState state = TaskState::pending;
    AttemptId attempt = 0;  // that holds the lease
    int attempts = 0, function_failures = 0, platform_failures = 0;
    AttemptId recorded_by = 0;
    std::string result_path;
  };
  struct JobRow {
    JobSpec spec;
    JobState state = JobState::pending;
    std::string error;
    std::int64_t started = 0, finished = 0;
    int ends = 0;  // times that it was given a terminal state
    std::map<std::int64_t, TaskRow> tasks;
    WallTime started_at{};
  };
  std::map<std::string, JobRow> jobs;
  std::vector<std::string> order;
  std::map<AttemptId, std::optional<AttemptEnd>> attempts;
  std::map<AttemptId, std::string> not_gone;  // attempt → job
  std::int64_t epoch = 0;
  std::vector<std::string> broken;
  std::function<StoreFault()> fault = [] { return StoreFault::none; };

  Result<Recovered> begin_epoch() override {
    return guarded<Recovered>([&]() -> Recovered {
      Recovered found;
      found.epoch = ++epoch;
      for (const auto& [id, job] : not_gone) found.left_over.push_back({id, job});
      for (const std::string& id : order) {
        JobRow& job = jobs.at(id);
        if (is_terminal(job.state)) continue;
        OpenJob open{job.spec, job.state, job.started, job.finished, {}, job.started_at};
        for (auto& [number, task] : job.tasks) {
          if (task.state > TaskState::running) continue;
          if (task.attempt != 0) end_attempt(task, AttemptEnd::interrupted);
          task.state = TaskState::pending;
          open.unfinished.push_back({number, task.attempts, task.function_failures, task.platform_failures});
        }
        found.jobs.push_back(std::move(open));
      }
      return found;
    });
  }

  Status add(const JobSpec& spec) override {
    return guarded<void>([&] { add_one(spec); });
  }

  Status start(const std::vector<AttemptStart>& starts) override {
    return guarded<void>([&] {
      for (const AttemptStart& each : starts) start_one(each);
    });
  }

  Status adopt(const JobSpec& spec, const AttemptStart& start) override {
    return guarded<void>([&] {
      add_one(spec);
      start_one(start);
    });
  }

  Result<bool> record(const AttemptRecord& record) override {
    return guarded<bool>([&]() -> bool {
      const auto found = jobs.find(record.job_id);
      if (found == jobs.end() || is_terminal(found->second.state)) return false;
      JobRow& job = found->second;
      const auto place = job.tasks.find(record.task);
      if (place == job.tasks.end() || place->second.attempt != record.id) return false;
      TaskRow& task = place->second;
      task.function_failures = record.function_failures;
      task.platform_failures = record.platform_failures;
      task.state = record.task_state;
      end_attempt(task, record.end);
      if (task.state != TaskState::pending) {
        if (task.recorded_by != 0) broken.push_back("a task was recorded twice");
        task.recorded_by = record.id;
        task.result_path = record.result_path;
        ++job.finished;
      }
      if (record.job_state) end(job, *record.job_state, record.job_error);
      return true;
    });
  }

  Result<bool> end_job(const std::string& id, JobState state, const std::string& error, WallTime) override {
    return guarded<bool>([&]() -> bool {
      const auto found = jobs.find(id);
      if (found == jobs.end() || is_terminal(found->second.state)) return false;
      end(found->second, state, error);
      return true;
    });
  }

  void gone(AttemptId attempt) override { not_gone.erase(attempt); }

 private:
  void add_one(const JobSpec& spec) {
    if (!jobs.try_emplace(spec.id, JobRow{spec, JobState::pending, {}, 0, 0, 0, {}, {}}).second)
      broken.push_back("job " + spec.id + " was added twice");
    order.push_back(spec.id);
  }
  void start_one(const AttemptStart& start) {
    JobRow& job = jobs.at(start.job_id);
    if (is_terminal(job.state)) broken.push_back("a task of the ended job " + start.job_id + " was started");
    if (start.job_begins != (job.state == JobState::pending)) broken.push_back("job_begins is wrong");
    job.state = JobState::running;
    if (start.job_begins) job.started_at = start.started_at;
    TaskRow& task = job.tasks[start.task];
    if (task.attempt != 0 || task.state > TaskState::running) broken.push_back("a task was started over another");
    task.state = TaskState::running;
    task.attempt = start.id;
    task.attempts = start.attempt;
    job.started = std::max(job.started, start.task + 1);
    if (!attempts.emplace(start.id, std::nullopt).second) broken.push_back("an attempt id was given twice");
    not_gone.emplace(start.id, start.job_id);
  }
  void end_attempt(TaskRow& task, AttemptEnd how) {
    if (attempts.at(task.attempt)) broken.push_back("an attempt ended twice");
    attempts.at(task.attempt) = how;
    task.attempt = 0;
  }
  void end(JobRow& job, JobState state, const std::string& error) {
    if (!is_terminal(state)) broken.push_back("a job ended with a state that is no end");
    job.state = state;
    job.error = error;
    ++job.ends;
    for (auto& [number, task] : job.tasks)
      if (task.attempt != 0) end_attempt(task, AttemptEnd::canceled);
  }
  template <class T, class F>
  Result<T> guarded(F&& work) {
    const StoreFault now = fault();
    if (now == StoreFault::fails) return fail(ErrorKind::storage_full, "the disk is full");
    if (now == StoreFault::killed_before) throw ServerKilled{};
    if constexpr (std::is_void_v<T>) {
      work();
      if (now == StoreFault::killed_after) throw ServerKilled{};
      return {};
    } else {
      T value = work();
      if (now == StoreFault::killed_after) throw ServerKilled{};
      return value;
    }
  }
};

}  // namespace fused
