// Schedules and what became of their due times, in the state database. On the state thread only.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "jobs/schedule.hpp"
#include "storage/database.hpp"

namespace fused {

enum class RunPhase {
  open,     // its job is to be submitted or has not ended; without a job: it waits for the one before it
  settled,  // nothing more is done for it
  to_tell,  // its job has failed; the function for that is to be run
};

// One due time that was dealt with.
struct ScheduleRun {
  std::string schedule_id;
  WallTime due{};
  std::string job_id;  // "": none (yet)
  RunPhase phase = RunPhase::open;
  std::string note;            // for people: why it was not run, or that it was asked for
  std::string failure_job_id;  // of the function that was told of its failure
};

// How a job stands, as far as a schedule must know.
struct JobEndView {
  std::string user_id;
  bool open = true;
  bool failed = false;
  std::string state;
  std::string error;
};

class ScheduleStore {
 public:
  static constexpr std::int64_t kRunsKept = 10'000;  // of one schedule: a week of minutes

  explicit ScheduleStore(Database& database) : database_(database) {}

  Result<std::vector<Schedule>> all();
  Status put(const Schedule& schedule);  // adds or replaces
  Status remove(const std::string& id);  // with its runs; its jobs stay
  // `work` (returning Status) in one transaction.
  template <class F>
  Status together(F&& work) {
    return database_.transaction(std::forward<F>(work));
  }

  // False, and nothing is changed, when that due time was dealt with before.
  Result<bool> add_run(const ScheduleRun& run);
  Status change_run(const ScheduleRun& run);
  Status set_due(const std::string& id, std::optional<WallTime> due);
  Result<std::vector<ScheduleRun>> unsettled();  // of all schedules, oldest first
  // Newest first; of those that are joined with a job its state stands beside. An id is given to a run before its job
  // is submitted; here it stands once there is that job.
  struct Shown {
    ScheduleRun run;
    std::string state;  // of the job; "" without
    std::string error;
  };
  Result<std::vector<Shown>> runs(const std::string& id, std::int64_t limit);
  // Nothing: there is no such job.
  Result<std::optional<JobEndView>> job(const std::string& job_id);

 private:
  Database& database_;
};

}  // namespace fused
