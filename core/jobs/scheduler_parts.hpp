// What a Scheduler is given: where jobs are kept and what starts their processes.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "jobs/job.hpp"

namespace fused {

struct AttemptStart {
  AttemptId id = 0;
  std::string job_id;
  std::int64_t task = 0;
  int step = 0;
  std::int64_t number_in_step = 0;
  int attempt = 1;  // of this task, from 1
  Share share;
  bool job_begins = false;  // the job's first: it is pending until then
  WallTime started_at{};
};

// How an attempt ended and what that makes of its task and its job: one transaction.
struct AttemptRecord {
  AttemptId id = 0;
  std::string job_id;
  std::int64_t task = 0;
  AttemptEnd end = AttemptEnd::done;
  TaskState task_state = TaskState::done;  // pending: it is tried again
  int function_failures = 0;               // of the task so far
  int platform_failures = 0;
  std::string result_path;
  std::string error;
  std::optional<JobState> job_state;  // terminal: what is still open of the job ends with it
  std::string job_error;
  WallTime ended_at{};
};

struct UnfinishedTask {
  std::int64_t number = 0;
  int attempts = 0;
  int function_failures = 0;
  int platform_failures = 0;
};

// An open job as the store knows it after the attempts of other lives were fenced.
struct OpenJob {
  JobSpec spec;
  JobState state = JobState::pending;
  std::int64_t started_tasks = 0;   // tasks 0 … started_tasks-1 have been started at least once
  std::int64_t finished_tasks = 0;  // done or failed
  std::vector<UnfinishedTask> unfinished;
  WallTime started_at{};  // of a running one
};

// An attempt of another life whose process may still be there; the launcher knows by its id which it was.
struct LeftOver {
  AttemptId id = 0;
  std::string job_id;
};

struct Recovered {
  std::int64_t epoch = 0;
  std::vector<OpenJob> jobs;        // in the order in which they were submitted
  std::vector<LeftOver> left_over;  // attempts of earlier lives that are not known to be gone, ended or not
};

// Each call is one transaction: when it succeeds it is on disk, when it fails nothing has changed.
struct JobStore {
  virtual ~JobStore() = default;
  // A new life of the server: attempts of earlier lives end as `interrupted`, their tasks are pending again.
  virtual Result<Recovered> begin_epoch() = 0;
  virtual Status add(const JobSpec& job) = 0;
  virtual Status start(const std::vector<AttemptStart>& attempts) = 0;
  virtual Status adopt(const JobSpec& job, const AttemptStart& start) = 0;  // both at once
  // False, and nothing is changed, unless the task names this attempt as its own and the job is open.
  virtual Result<bool> record(const AttemptRecord& record) = 0;
  // Ends an open job and its open attempts. False when it has ended before.
  virtual Result<bool> end_job(const std::string& job_id, JobState state, const std::string& error, WallTime at) = 0;
  // No process of the attempt is alive. Written with the next transaction; what is lost by an end of the server before
  // it comes again as left over.
  virtual void gone(AttemptId attempt) = 0;
};

// Starts and ends processes. Never calls the scheduler from within these; tells it later, on its thread: `heartbeat`
// while it lives, `finished` at most once, and `exited` exactly once for each start and each left over, when no process
// of it is alive.
struct Launcher {
  virtual ~Launcher() = default;
  virtual void start(const AttemptStart& attempt, const JobSpec& job) = 0;
  virtual void kill(AttemptId attempt) = 0;
  virtual void kill_left_over(const LeftOver& process) = 0;
};

}  // namespace fused
