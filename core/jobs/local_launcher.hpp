// Runs the tasks of jobs: each as a run of its own, in a worker beside the slots of requests, or on another machine
// (worker/remote_workers.hpp), which changes nothing but where signs of life and usage come from. The
// Launcher's three calls come on the state thread; everything else happens on the server's.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "auth/people.hpp"
#include "jobs/job_content.hpp"
#include "jobs/job_files.hpp"
#include "jobs/job_log.hpp"
#include "jobs/scheduler.hpp"
#include "run/promotion.hpp"
#include "run/run_service.hpp"

namespace fused {

struct LocalLauncherOptions {
  std::chrono::milliseconds lease{30'000};
  RunLimits limits;                 // of a request's run; a job's own replace memory, disk and time
  RemoteWorkers* remote = nullptr;  // tasks run on other machines; `runs` sends them there
};

class LocalLauncher : public Launcher {
 public:
  // `tell` runs its argument on the state thread.
  using Tell = std::function<void(std::function<void(Scheduler&)>)>;
  LocalLauncher(boost::asio::io_context& io, RunService& runs, const People& people, StateThread& files_thread,
                JobFiles& files, JobLogs& logs, LocalLauncherOptions options, Tell tell);

  void start(const AttemptStart& attempt, const JobSpec& job) override;
  // An attempt whose process runs already, as a request's run until now; what it has printed is in the job's log when
  // that is flushed. On the server's thread.
  void adopt(const AttemptStart& attempt, const JobSpec& job, LongRun run);
  void kill(AttemptId attempt) override;
  void kill_left_over(const LeftOver& process) override;

  // The job has ended: what its tasks shared goes when none of them is left. On the server's thread.
  void job_ended(const std::string& job_id);
  // Of earlier lives: those of jobs that are not open.
  void remove_shared(const std::string& job_id);
  // A folder that JobFiles::put_aside has named.
  void remove_aside(const std::string& name);
  // Of a removed job with output_table (job_output.hpp).
  void remove_parts(const std::string& job_id, const std::string& folder);

  // Nothing that happens from now on is told: the server leaves, and its next life takes the tasks up again.
  void stop();

  JobContents contents;  // of the thread of files
  // The content of a job, read from its file where it is not kept. On the thread of files.
  Result<SharedContent> load(const JobSpec& job);

 private:
  struct Task;
  boost::asio::awaitable<void> run(std::shared_ptr<Task> task);
  boost::asio::awaitable<AttemptOutcome> perform(std::shared_ptr<Task> task);
  boost::asio::awaitable<AttemptOutcome> ended(std::shared_ptr<Task> task, Result<RunOutcome> outcome);
  boost::asio::awaitable<AttemptOutcome> keep(std::shared_ptr<Task> task, RunOutcome outcome);
  boost::asio::awaitable<void> look_after();
  boost::asio::awaitable<void> end_left_over(LeftOver process);
  Result<RunRequest> request_of(const Task& task, const SharedContent& content, std::filesystem::path shared) const;
  void began(const std::shared_ptr<Task>& task, RunConversation& conversation);
  void tell_start(const Task& task);
  void tell_adopted(Task& task);
  void note_process(const Task& task, pid_t pid);
  void sample(Task& task, std::int64_t memory_bytes, double cpu_seconds);
  // Of a task that is not reading or writing files: whether it lives; its usage goes to the job's file.
  bool look(Task& task, bool samples);

  boost::asio::io_context& io_;
  RunService& runs_;
  const People& people_;
  StateThread& files_thread_;
  JobFiles& files_;
  JobLogs& logs_;
  LocalLauncherOptions options_;
  Tell tell_;
  boost::asio::steady_timer tick_;
  std::unordered_map<AttemptId, std::shared_ptr<Task>> tasks_;
  std::unordered_set<std::string> ended_;  // jobs that have ended with tasks that are not gone yet
  boost::asio::thread_pool cleaner_{1};
  bool looking_ = false;
  bool stopped_ = false;
};

}  // namespace fused
