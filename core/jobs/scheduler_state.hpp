// What a Scheduler holds of an open job and of an attempt; private to scheduler*.cpp.
#pragma once
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "jobs/scheduler.hpp"

namespace fused {

struct Scheduler::Attempt {
  AttemptStart start;
  std::string user;
  SteadyTime began{};
  SteadyTime lease_until{};
  bool has_lease = true;                  // it may still be recorded
  bool process_gone = false;              // its share has been given back
  bool is_adopted = false;                // it was a run of a request before
  std::optional<AttemptOutcome> outcome;  // told, not yet recorded
};

struct Scheduler::Job {
  JobSpec spec;
  JobState state = JobState::pending;
  FairQueue::Place place;
  bool in_queue = false;
  std::vector<std::int64_t> step_ends;  // the number after the last task of each step
  std::int64_t started = 0;             // tasks 0 … started-1 have been started
  std::int64_t finished = 0;
  std::map<std::int64_t, UnfinishedTask> unfinished;  // of those that have been started
  std::set<std::int64_t> again;                       // to be tried again now
  std::set<std::pair<SteadyTime, std::int64_t>> later;
  std::set<AttemptId> running;  // hold leases
  std::optional<SteadyTime> refused_since;
  SteadyTime deadline{};  // where spec.run_max says so and it runs
  std::optional<WallTime> last_heartbeat;

  // Steps come one after another: of tasks that are numbered through, as many are finished as came before the step.
  std::size_t step() const {
    std::size_t step = 0;
    while (step + 1 < step_ends.size() && finished >= step_ends[step]) ++step;
    return step;
  }
  std::size_t step_of(std::int64_t task) const {
    std::size_t step = 0;
    while (task >= step_ends[step]) ++step;
    return step;
  }
  std::int64_t first_of(std::size_t step) const { return step == 0 ? 0 : step_ends[step - 1]; }

  // The next task to start, if one may.
  std::optional<std::int64_t> next_task() const {
    const std::size_t now = step();
    const int of_step = spec.steps[now].parallel_max;
    const int most = of_step > 0 ? std::min(of_step, spec.parallel_max) : spec.parallel_max;
    if (running.size() >= static_cast<std::size_t>(most)) return std::nullopt;
    if (!again.empty()) return *again.begin();
    if (started < step_ends[now]) return started;
    return std::nullopt;
  }
};

}  // namespace fused
