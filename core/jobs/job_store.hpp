// Jobs, tasks and attempts in the state database. On the state thread only, as the Scheduler that it serves. A lease is
// kept by the scheduler alone: another life of the server fences every attempt before it, so none is asked for on disk.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "jobs/scheduler_parts.hpp"
#include "storage/database.hpp"

namespace fused {

// A job as it is shown; also of one that has ended.
struct JobRow {
  JobSpec spec;
  JobState state = JobState::pending;
  std::string error;
  std::int64_t total_tasks = 0;
  std::int64_t finished_tasks = 0;
  std::optional<WallTime> started_at;
  std::optional<WallTime> ended_at;
};

struct TaskRow {
  std::int64_t number = 0;
  int step = 0;
  TaskState state = TaskState::pending;
  int attempts = 0;
  std::string result_path;
  std::string error;
};

struct AttemptRow {
  AttemptId id = 0;
  std::int64_t task = 0;
  std::optional<AttemptEnd> end;
  std::string error;
  WallTime started_at{};
  std::optional<WallTime> ended_at;
};

struct JobFilter {
  std::string organisation;
  std::string user_id;  // "": of everybody
  std::optional<JobState> state;
  std::int64_t skip = 0;
  std::int64_t limit = 100;
};

class SqliteJobStore : public JobStore {
 public:
  // The database is migrated and outlives the store.
  explicit SqliteJobStore(Database& database) : database_(database) {}

  Result<Recovered> begin_epoch() override;
  Status add(const JobSpec& job) override;
  Status start(const std::vector<AttemptStart>& attempts) override;
  Status adopt(const JobSpec& job, const AttemptStart& start) override;
  Result<bool> record(const AttemptRecord& record) override;
  Result<bool> end_job(const std::string& job_id, JobState state, const std::string& error, WallTime at) override;
  void gone(AttemptId attempt) override { gone_.push_back(attempt); }

  // Those of the ids that no job has.
  Result<std::vector<std::string>> without_row(const std::vector<std::string>& ids);
  Result<std::optional<JobRow>> find(const std::string& job_id);
  Result<std::vector<JobRow>> list(const JobFilter& filter);  // the newest first
  // Tasks that have been started, by number.
  Result<std::vector<TaskRow>> tasks(const std::string& job_id, std::int64_t from = 0, std::int64_t limit = 1'000);
  // The newest `limit` but for the `skip` newest, in the order of their start.
  Result<std::vector<AttemptRow>> attempts(const std::string& job_id, std::int64_t skip = 0,
                                           std::int64_t limit = 1'000);
  // Whether a job of the same user that is not done was submitted with these parts (JobOptions::parts).
  Result<bool> needs_parts(const std::string& organisation, const std::string& user_id, const std::string& parts);
  // Removes a job that has ended, with its tasks and attempts. False when it is open or unknown.
  Result<bool> remove(const std::string& job_id);

 private:
  template <class F>
  Status write(F&& work);
  Status add_rows(const JobSpec& job);
  Status start_rows(const AttemptStart& start);
  Status end_rows(const std::string& job_id, JobState state, const std::string& error, WallTime at);
  Status read_open(std::vector<OpenJob>& jobs);

  Database& database_;
  std::vector<AttemptId> gone_;  // not yet written
};

}  // namespace fused
