// The order in which jobs, tasks and attempts happen. Knows neither clock nor disk nor processes: they are given, so
// that scheduler_simulation_test can try it with any number of seeds. One thread; no call blocks but in the store.
//
// What holds (threats-and-faults.md §3, I3): a job whose submit succeeded ends in exactly one of done, failed and
// canceled; a task's result is recorded once, by the attempt that holds its lease; an attempt whose lease was taken
// away (no heartbeat, canceled, another life of the server) is told `late` whatever it brings; a cancel that succeeded
// is final. A task may run more than once. A share of the machine is held until its process is gone.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "base/result.hpp"
#include "jobs/fair_queue.hpp"
#include "jobs/job.hpp"
#include "jobs/scheduler_parts.hpp"

namespace fused {

struct SchedulerRules {
  Share machine{2, std::int64_t{4} << 30};  // for all jobs together
  // Without a heartbeat for so long the attempt is lost. Where tick() itself comes half a lease late (the server was
  // stopped, the machine slept) nobody is blamed: leases begin again.
  std::chrono::milliseconds lease{30'000};
  std::chrono::milliseconds retry_first{1'000};
  std::chrono::milliseconds retry_max{60'000};
  std::chrono::milliseconds store_retry{500};  // until a store that failed is asked again
  // A task that does not fit waits this long while others pass it; then nothing else is started until it fits.
  std::chrono::milliseconds patience{60'000};
  int interruptions_max = 1'000;  // starts of one task: one that ends the server each time must not go on for ever
  std::size_t open_jobs_max = 1'000'000;
  std::uint64_t jitter_seed = 1;
  FairRules fair;
};

struct AttemptOutcome {
  AttemptEnd end = AttemptEnd::done;  // not interrupted, not canceled
  std::string result_path;            // durable before it is told
  std::string error;                  // of an end that is not done
};

enum class Told { recorded, kept, late };  // kept: the store failed; it is recorded later, unless the server is killed

struct JobView {
  JobState state = JobState::pending;
  std::int64_t total_tasks = 0;
  std::int64_t finished_tasks = 0;
  std::vector<AttemptId> running;
  std::optional<WallTime> last_heartbeat;
  bool waits_for_retry = false;
};

struct SchedulerFigures {
  std::size_t open_jobs = 0;
  std::size_t processes = 0;
  Share in_use{0, 0};
  std::uint64_t recorded = 0;
  std::uint64_t fenced = 0;  // late writers turned away
  std::uint64_t lost = 0;    // leases that ran out
  std::uint64_t store_failures = 0;
};

class Scheduler {
 public:
  Scheduler(SchedulerRules rules, const Clock& clock, JobStore& store, Launcher& launcher);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // First, once: takes up what earlier lives of the server left.
  Status begin();

  // When it succeeds the job is on disk. invalid_argument: no step, no task, a share that the machine does not have;
  // conflict: the id is taken; too_many_requests: too many jobs are open.
  Status submit(JobSpec job);
  // A job of one task that runs already: the launcher is not asked to start it, and is to tell of this attempt as of
  // any other. Its share counts also where the machine has none left; then nothing else starts. too_many_requests: as
  // many as there are cores run so; unavailable: the server leaves; else as `submit`.
  Result<AttemptStart> adopt(JobSpec job);
  // When it succeeds the job is `canceled` for good and its processes are being ended. not_found for a job that is not
  // open: it has ended, or there never was one.
  Status cancel(const std::string& job_id);

  // What a launcher tells.
  void heartbeat(AttemptId attempt);
  Told finished(AttemptId attempt, AttemptOutcome outcome);
  void exited(AttemptId attempt, AttemptEnd unless_finished = AttemptEnd::crashed, std::string error = {});

  // Does what is due; to be called at `next_due` or a little later. Nothing: only an event changes anything.
  void tick();
  std::optional<SteadyTime> next_due() const;

  // Starts nothing more (the server leaves); what runs goes on and is recorded.
  void drain() { draining_ = true; }

  std::optional<JobView> view(const std::string& job_id) const;  // of an open job
  SchedulerFigures figures() const;

 private:
  struct Job;
  struct Attempt;

  Status check_open(const JobSpec& job) const;  // may it be opened
  Job& open(OpenJob found);
  Status end_worn_out(const Job& job);
  void place(Job& job);  // into the queue, or out of it
  Job* choose(SteadyTime now);
  AttemptStart take(Job& job, SteadyTime now);
  void undo(const AttemptStart& start, SteadyTime now);
  void start_what_fits();
  Told settle(AttemptId id);
  AttemptRecord record_of(const Attempt& attempt) const;
  void apply(const AttemptRecord& record);
  void release(Attempt& attempt, SteadyTime now);
  void take_lease(Attempt& attempt);
  void forget_if_over(AttemptId id);
  void end_job(const std::string& job_id);
  void end_lost(SteadyTime now);
  void end_overdue(SteadyTime now);
  void take_up_retries(SteadyTime now);
  void ask_store_again(SteadyTime now);
  void ask_store_later();
  std::chrono::milliseconds back_off(int failures);

  SchedulerRules rules_;
  const Clock& clock_;
  JobStore& store_;
  Launcher& launcher_;
  std::mt19937_64 jitter_;
  FairQueue queue_;
  std::unordered_map<std::string, std::unique_ptr<Job>> jobs_;  // open ones
  // Those that hold a lease or whose process is not known to be gone.
  std::map<AttemptId, std::unique_ptr<Attempt>> attempts_;
  std::set<std::pair<SteadyTime, AttemptId>> leases_;
  std::set<std::pair<SteadyTime, std::string>> retries_;    // jobs that have a task to try again then
  std::set<std::pair<SteadyTime, std::string>> deadlines_;  // of running jobs that have a limit
  std::set<AttemptId> unrecorded_;                          // finished, but the store failed
  std::optional<SteadyTime> store_again_;                   // no earlier
  std::string holder_;                                      // the job whose patience has ended
  Share in_use_{0, 0};
  std::int64_t epoch_ = 0;
  std::int64_t serial_ = 0;
  std::uint64_t order_ = 0;
  int adopted_ = 0;  // processes that are there
  bool draining_ = false;
  SchedulerFigures counts_;
};

}  // namespace fused
