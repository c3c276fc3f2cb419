// Jobs as the rest of the server sees them: submitted, watched, canceled. Called on the server's thread; the scheduler
// and its tables live on the state thread, files on one of their own.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "auth/people.hpp"
#include "jobs/instance_type.hpp"
#include "jobs/job_figures.hpp"
#include "jobs/job_options.hpp"
#include "jobs/job_store.hpp"
#include "jobs/local_launcher.hpp"
#include "jobs/result_links.hpp"
#include "jobs/scheduler.hpp"
#include "storage/state_thread.hpp"

namespace fused {

struct JobServiceOptions {
  Share machine{1, std::int64_t{1} << 30};  // for all jobs together
  bool strict_instances = false;
  std::chrono::milliseconds lease{30'000};
  RunLimits limits;  // of a request's run
  int recursion_max = 5;
  RemoteWorkers* remote = nullptr;   // tasks run on other machines; `machine` is all of them together
  std::int64_t task_memory_max = 0;  // what the largest of them has; 0: no limit of its own
};

// What a client asks for; `config` is the object {"name", "steps", "metadata"}, not checked yet.
struct JobWish {
  boost::json::object config;
  JobOptions options;
  // Chosen by who submits, so that it may be repeated; "": a new one. Where there is such a job: that job, if it came
  // from the same request (options.request_sha256) and that was named; else conflict.
  std::string id;
};

struct ShownJob {
  JobRow row;
  std::optional<WallTime> last_heartbeat;
  std::int64_t progress = 0;
  std::string user_email;
};

class JobService {
 public:
  // What is handed in outlives it.
  static Result<std::unique_ptr<JobService>> open(boost::asio::io_context& io, StateThread& state, Database& database,
                                                  const DataFolder& data, const People& people, RunService& runs,
                                                  const Clock& clock, JobServiceOptions options);
  ~JobService();

  // Takes up what earlier lives of the server left. Once.
  Status start();
  // Called (on the server's thread) with the path of each new file that belongs into the object store.
  std::function<void(const std::string& path)> on_config;

  // The job is on disk when this succeeds.
  boost::asio::awaitable<Result<ShownJob>> submit(Actor actor, JobWish wish);
  // A run that has reached its wall limit becomes a job of the same id; on disk when this succeeds. The error says why
  // it does not.
  boost::asio::awaitable<Result<PromotedJob>> promote(LongRun run);
  // A new job: the same again, or of the tasks that are not done and the steps behind them. `once`: as in JobWish.
  struct Once {
    std::string id, request_sha256;
  };
  boost::asio::awaitable<Result<ShownJob>> repeat(Actor actor, std::string job_id, bool only_what_is_not_done,
                                                  Once once);
  // not_found names the id, also for a job of another organisation.
  boost::asio::awaitable<Result<ShownJob>> find(Actor actor, std::string job_id);
  // conflict for a job that has ended: says how.
  boost::asio::awaitable<Result<ShownJob>> cancel(Actor actor, std::string job_id);
  boost::asio::awaitable<Result<ShownJob>> add_progress(Actor actor, std::string job_id, std::int64_t amount);
  boost::asio::awaitable<Result<std::vector<ShownJob>>> list(JobFilter filter);
  boost::asio::awaitable<Result<void>> remove(Actor actor, std::string job_id);
  boost::asio::awaitable<Result<std::vector<TaskRow>>> tasks(std::string job_id, std::int64_t from, std::int64_t limit);
  // As in the store: the newest.
  boost::asio::awaitable<Result<std::vector<AttemptRow>>> attempts(std::string job_id, std::int64_t skip,
                                                                   std::int64_t limit);
  // Text and bytes for who has a link, by the name that `tasks` led to: "3.parquet", "3.parquet.metadata", "file.json".
  boost::asio::awaitable<Result<Bytes>> file(std::string job_id, std::string name);
  boost::asio::awaitable<Result<std::string>> usage(std::string job_id);  // lines of JSON

  JobLogs& logs() { return logs_; }
  StateThread& files_thread() { return files_thread_; }  // also for parsing what is large
  const ResultLinks& links() const { return links_; }
  JobFigures figures() const;  // of the scheduler: at its last event

  // Nothing more is started and nobody follows logs any more; what runs may end and is recorded.
  void drain();
  bool is_stopping() const { return draining_; }
  // Nothing is recorded any more: what runs is ended with the workers and taken up by the next life.
  void stop();

 private:
  JobService(boost::asio::io_context& io, StateThread& state, Database& database, const DataFolder& data,
             const People& people, RunService& runs, const Clock& clock, JobServiceOptions options, ResultLinks links);

  // Notes the jobs that end: their followers are told.
  class Store : public SqliteJobStore {
   public:
    using SqliteJobStore::SqliteJobStore;
    Result<bool> record(const AttemptRecord& record) override;
    Result<bool> end_job(const std::string& job_id, JobState state, const std::string& error, WallTime at) override;
    std::vector<std::string> ended;
  };
  struct Checked {
    JobConfig config;
    SharedContent content;
    std::string text;  // of file.json
  };

  void post(std::function<void(Scheduler&)> work);
  template <class F>
  boost::asio::awaitable<std::invoke_result_t<F>> on_state(F work);
  void after_work();  // on the state thread
  void ended(const std::vector<JobRow>& rows);
  void drop_parts(const JobSpec& job);  // of an output_table, where no job needs them any more
  void rearm(std::optional<SteadyTime> due);
  Result<Checked> check(boost::json::object config, const User& owner) const;
  Result<JobSpec> plan(const JobConfig& config, const Actor& actor, JobOptions options) const;
  // The job with its files on disk, not in the state database yet.
  boost::asio::awaitable<Result<JobSpec>> prepare(Actor actor, JobWish wish);
  void forget(const JobSpec& job);  // a prepared one
  boost::asio::awaitable<Result<AttemptStart>> adopt(JobSpec job);
  boost::asio::awaitable<Result<ShownJob>> keep(Actor actor, JobWish wish);
  boost::asio::awaitable<Result<ShownJob>> keep_once(Actor actor, JobWish wish);
  boost::asio::awaitable<ShownJob> show(JobRow row);
  // Once, behind the start: files of jobs that no row names go. A kill has fallen between the two.
  boost::asio::awaitable<void> sweep();
  boost::asio::awaitable<Result<JobFiles::Found>> find_unnamed();
  static Status leave_rest(const JobRow& row, const std::vector<TaskRow>& tasks, JobConfig& config);

  boost::asio::io_context& io_;
  StateThread& state_;
  const DataFolder& data_;
  const People& people_;
  const Clock& clock_;
  JobServiceOptions options_;
  ResultLinks links_;
  StateThread files_thread_;
  JobFiles files_;
  // Ids whose files this life of the server has made; until the sweep is over. On the thread of files.
  std::optional<std::unordered_set<std::string>> made_{std::in_place};
  JobLogs logs_;
  Store store_;
  LocalLauncher launcher_;
  Scheduler scheduler_;  // state thread
  boost::asio::steady_timer timer_;
  std::optional<SteadyTime> due_;
  JobFigures figures_;
  std::unordered_set<std::string> keeping_once_;  // ids of wishes that are on their way to the disk
  bool draining_ = false;
  bool stopped_ = false;
};

template <class F>
boost::asio::awaitable<std::invoke_result_t<F>> JobService::on_state(F work) {
  auto both = [this, work = std::move(work)] {
    auto value = work();
    after_work();
    return value;
  };
  co_return co_await state_.run(std::move(both));
}

}  // namespace fused
