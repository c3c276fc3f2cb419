#include "jobs/job_service.hpp"

#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>
#include <boost/json/array.hpp>
#include <charconv>

#include "auth/permissions.hpp"
#include "base/json_parse.hpp"
#include "base/text.hpp"
#include "jobs/job_output.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

std::unexpected<Error> no_job(const std::string& id) {
  return fail(ErrorKind::not_found,
              "there is no job '" + printable(id.substr(0, 60)) + "' that you may see; GET /api/v1/jobs lists them");
}

bool may_change(const Actor& actor, const JobRow& row) {
  if (actor.organisation != row.spec.organisation) return false;
  if (actor.kind == ActorKind::run) return actor.share_token_id.empty() && actor.user_id == row.spec.user_id;
  return may_write(actor, row.spec.organisation, row.spec.user_id);
}

Status check_change(const Actor& actor, const JobRow& row) {
  if (may_change(actor, row)) return {};
  return fail(ErrorKind::forbidden, "job " + row.spec.id + " is somebody else's: its user and owners may change it");
}

JobFiles::Sharing sharing_of(const JobServiceOptions& options) {
  if (options.remote == nullptr) return JobFiles::Sharing::here;
  return options.remote->shares_mount() ? JobFiles::Sharing::by_mount : JobFiles::Sharing::none;
}

std::string how_it_ended(const JobRow& row) {
  std::string text = "job " + row.spec.id + " has ended before: it is " + std::string(word(row.state));
  if (row.ended_at) text += " since " + format_utc(*row.ended_at);
  return text + (row.error.empty() ? "" : " (" + row.error.substr(0, 300) + ")");
}

}  // namespace

Result<bool> JobService::Store::record(const AttemptRecord& record) {
  Result<bool> recorded = SqliteJobStore::record(record);
  if (recorded && *recorded && record.job_state) ended.push_back(record.job_id);
  return recorded;
}

Result<bool> JobService::Store::end_job(const std::string& job_id, JobState state, const std::string& error,
                                        WallTime at) {
  Result<bool> done = SqliteJobStore::end_job(job_id, state, error, at);
  if (done && *done) ended.push_back(job_id);
  return done;
}

Result<std::unique_ptr<JobService>> JobService::open(asio::io_context& io, StateThread& state, Database& database,
                                                     const DataFolder& data, const People& people, RunService& runs,
                                                     const Clock& clock, JobServiceOptions options) {
  ResultLinks links = FUSED_TRY(ResultLinks::open(data));
  FUSED_CHECK(data.files().make_folders(data.gate(), "jobs"));
  return std::unique_ptr<JobService>(
      new JobService(io, state, database, data, people, runs, clock, std::move(options), std::move(links)));
}

JobService::JobService(asio::io_context& io, StateThread& state, Database& database, const DataFolder& data,
                       const People& people, RunService& runs, const Clock& clock, JobServiceOptions options,
                       ResultLinks links)
    : io_(io),
      state_(state),
      data_(data),
      people_(people),
      clock_(clock),
      options_(std::move(options)),
      links_(std::move(links)),
      files_(data, sharing_of(options_)),
      logs_(io, files_thread_, clock, data.path() / "jobs"),
      store_(database),
      launcher_(io, runs, people, files_thread_, files_, logs_, {options_.lease, options_.limits, options_.remote},
                [this](std::function<void(Scheduler&)> work) { post(std::move(work)); }),
      scheduler_({.machine = options_.machine, .lease = options_.lease}, clock, store_, launcher_),
      timer_(io) {}

JobService::~JobService() { files_thread_.finish(); }

JobFigures JobService::figures() const {
  JobFigures figures = figures_;
  figures.log = logs_.figures();
  return figures;
}

void JobService::drain() {
  draining_ = true;
  state_.post([this] { scheduler_.drain(); });
  logs_.wake_all();
}

void JobService::stop() {
  stopped_ = true;
  launcher_.stop();
  timer_.cancel();
}

// ---- between the threads

void JobService::post(std::function<void(Scheduler&)> work) {
  state_.post([this, work = std::move(work)] {
    work(scheduler_);
    after_work();
  });
}

void JobService::after_work() {
  std::vector<JobRow> rows;
  for (const std::string& id : std::exchange(store_.ended, {})) {
    auto row = store_.find(id);
    if (!row)
      store_.ended.push_back(id);  // looked at again behind the next piece of work
    else if (*row)
      rows.push_back(**std::move(row));
  }
  asio::post(io_, [this, rows = std::move(rows), due = scheduler_.next_due(), figures = scheduler_.figures()] {
    figures_.scheduler = figures;
    ended(rows);
    rearm(due);
  });
}

void JobService::rearm(std::optional<SteadyTime> due) {
  if (stopped_ || due == due_) return;
  due_ = due;
  timer_.cancel();
  if (!due) return;
  timer_.expires_at(*due);
  timer_.async_wait([this](boost::system::error_code error) {
    if (error || stopped_) return;
    due_.reset();
    post([](Scheduler& scheduler) { scheduler.tick(); });
  });
}

void JobService::ended(const std::vector<JobRow>& rows) {
  for (const JobRow& row : rows) {
    const std::string& id = row.spec.id;
    ++(row.state == JobState::done     ? figures_.done
       : row.state == JobState::failed ? figures_.failed
                                       : figures_.canceled);
    logs_.add(id, -1, "job",
              "job is " + std::string(word(row.state)) + ": " + std::to_string(row.finished_tasks) + " of " +
                  std::to_string(row.total_tasks) + " tasks" + (row.error.empty() ? "" : "; " + row.error));
    logs_.end(id);
    files_thread_.post([this, id] { launcher_.contents.forget(id); });
    launcher_.job_ended(id);
    if (row.state == JobState::done) drop_parts(row.spec);
  }
}

// ---- looking

asio::awaitable<ShownJob> JobService::show(JobRow row) {
  ShownJob shown;
  if (const auto user = people_.user(row.spec.user_id)) shown.user_email = user->email;
  auto live = [this, id = row.spec.id] { return scheduler_.view(id); };
  if (!is_terminal(row.state))
    if (const auto view = co_await state_.run(std::move(live))) shown.last_heartbeat = view->last_heartbeat;
  auto read = [this, id = row.spec.id] { return files_.add_progress(id, 0); };
  const auto progress = co_await files_thread_.run(std::move(read));
  if (!progress) files_.tell(row.spec.id, std::unexpected(progress.error()));
  shown.progress = progress.value_or(0);
  shown.row = std::move(row);
  co_return shown;
}

asio::awaitable<Result<ShownJob>> JobService::find(Actor actor, std::string job_id) {
  // Whoever has a link to a function chooses what it is asked for, an id of a job of its owner too.
  if (!actor.share_token_id.empty()) co_return no_job(job_id);
  auto look = [this, job_id] { return store_.find(job_id); };
  auto row = co_await state_.run(std::move(look));
  if (!row) co_return std::unexpected(row.error());
  if (!*row || !may_see(actor, (*row)->spec.organisation)) co_return no_job(job_id);
  if (!may_list_all_of_organisation(actor) && (*row)->spec.user_id != actor.user_id) co_return no_job(job_id);
  co_return co_await show(**std::move(row));
}

asio::awaitable<Result<ShownJob>> JobService::cancel(Actor actor, std::string job_id) {
  const auto found = co_await find(actor, job_id);
  if (!found) co_return std::unexpected(found.error());
  if (const auto may = check_change(actor, found->row); !may) co_return std::unexpected(may.error());
  auto end = [this, job_id]() -> Result<std::pair<bool, JobRow>> {
    const Status canceled = scheduler_.cancel(job_id);
    if (!canceled && canceled.error().kind != ErrorKind::not_found) return std::unexpected(canceled.error());
    auto row = FUSED_TRY(store_.find(job_id));
    if (!row) return no_job(job_id);
    return std::pair{canceled.has_value(), *std::move(row)};
  };
  auto ended = co_await on_state(std::move(end));
  if (!ended) co_return std::unexpected(ended.error());
  if (!ended->first) co_return fail(ErrorKind::conflict, how_it_ended(ended->second));
  co_return co_await show(std::move(ended->second));
}

asio::awaitable<Result<ShownJob>> JobService::add_progress(Actor actor, std::string job_id, std::int64_t amount) {
  auto found = co_await find(actor, job_id);
  if (!found) co_return found;
  if (const auto may = check_change(actor, found->row); !may) co_return std::unexpected(may.error());
  if (is_terminal(found->row.state)) co_return fail(ErrorKind::conflict, how_it_ended(found->row));
  auto add = [this, job_id, amount] { return files_.add_progress(job_id, amount); };
  const auto progress = co_await files_thread_.run(std::move(add));
  if (!progress) co_return std::unexpected(progress.error());
  found->progress = *progress;
  co_return found;
}

asio::awaitable<Result<std::vector<ShownJob>>> JobService::list(JobFilter filter) {
  auto look = [this, filter = std::move(filter)]() -> Result<std::vector<ShownJob>> {
    std::vector<JobRow> rows = FUSED_TRY(store_.list(filter));
    std::vector<ShownJob> jobs;
    for (JobRow& row : rows) {
      ShownJob job;
      if (const auto view = scheduler_.view(row.spec.id)) job.last_heartbeat = view->last_heartbeat;
      if (const auto user = people_.user(row.spec.user_id)) job.user_email = user->email;
      job.row = std::move(row);
      jobs.push_back(std::move(job));
    }
    return jobs;
  };
  co_return co_await state_.run(std::move(look));
}

asio::awaitable<Result<std::vector<TaskRow>>> JobService::tasks(std::string job_id, std::int64_t from,
                                                                std::int64_t limit) {
  auto look = [this, job_id, from, limit] { return store_.tasks(job_id, from, limit); };
  co_return co_await state_.run(std::move(look));
}

asio::awaitable<Result<std::vector<AttemptRow>>> JobService::attempts(std::string job_id, std::int64_t skip,
                                                                      std::int64_t limit) {
  auto look = [this, job_id, skip, limit] { return store_.attempts(job_id, skip, limit); };
  co_return co_await state_.run(std::move(look));
}

asio::awaitable<Result<std::string>> JobService::usage(std::string job_id) {
  auto read = [this, job_id] { return files_.usage(job_id); };
  co_return co_await files_thread_.run(std::move(read));
}

asio::awaitable<Result<Bytes>> JobService::file(std::string job_id, std::string name) {
  const auto none = [&] {
    return fail(ErrorKind::not_found, "job " + job_id + " has no file '" + printable(name.substr(0, 60)) + "'");
  };
  if (name == "file.json") {
    auto look = [this, job_id] { return store_.find(job_id); };
    auto row = co_await state_.run(std::move(look));
    if (!row) co_return std::unexpected(row.error());
    if (!*row) co_return none();
    auto read = [this, path = (*row)->spec.config_path] { return files_.read_config(path); };
    auto text = co_await files_thread_.run(std::move(read));
    if (!text) co_return std::unexpected(text.error());
    co_return Bytes::of(*std::move(text));
  }
  std::int64_t number = -1;
  std::from_chars(name.data(), name.data() + name.size(), number);
  auto found = co_await tasks(job_id, number, 1);
  if (!found) co_return std::unexpected(found.error());
  if (found->empty() || found->front().number != number || found->front().result_path.empty()) co_return none();
  const std::string& path = found->front().result_path;
  const std::string shown = shown_result_name(path);
  if (name != shown && name != shown + ".metadata") co_return none();
  auto read = [this, job_id, file = path + name.substr(shown.size())] { return files_.read_result(job_id, file); };
  co_return co_await files_thread_.run(std::move(read));
}

asio::awaitable<Result<void>> JobService::remove(Actor actor, std::string job_id) {
  const auto found = co_await find(actor, job_id);
  if (!found) co_return std::unexpected(found.error());
  if (const auto may = check_change(actor, found->row); !may) co_return std::unexpected(may.error());
  const std::string parts = read_options(found->row.spec.options_json).parts;
  bool needed = false;
  auto drop = [this, &row = found->row, &parts, &needed]() -> Result<bool> {
    const bool dropped = FUSED_TRY(store_.remove(row.spec.id));
    needed = parts.empty() || store_.needs_parts(row.spec.organisation, row.spec.user_id, parts).value_or(true);
    return dropped;
  };
  const auto removed = co_await state_.run(std::move(drop));
  if (!removed) co_return std::unexpected(removed.error());
  if (!*removed)
    co_return fail(ErrorKind::conflict,
                   "job " + job_id + " is " + std::string(word(found->row.state)) + "; cancel it before you remove it");
  auto wipe = [this, job_id, path = found->row.spec.config_path] { return files_.remove(job_id, path); };
  // The job is gone; what is left of it is swept at the next start.
  files_.tell(job_id, co_await files_thread_.run(std::move(wipe)));
  if (!needed) launcher_.remove_parts(job_id, parts);
  co_return Result<void>();
}

// ---- again

Status JobService::leave_rest(const JobRow& row, const std::vector<TaskRow>& tasks, JobConfig& config) {
  std::vector<bool> done(static_cast<std::size_t>(row.total_tasks));
  for (const TaskRow& task : tasks)
    if (task.state == TaskState::done && task.number < row.total_tasks)
      done[static_cast<std::size_t>(task.number)] = true;
  json::array steps;
  std::size_t first = 0;
  for (const JobStep& step : config.steps) {
    const auto count = static_cast<std::size_t>(step.tasks());
    json::object source = step.source;
    json::array items;
    std::size_t left = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (done[first + i]) continue;
      ++left;
      if (step.inputs) items.push_back(step.source.at("input").as_array()[i]);
    }
    if (step.inputs) source["input"] = std::move(items);
    if (left > 0) steps.push_back(std::move(source));
    first += count;
  }
  if (steps.empty())
    return fail(ErrorKind::conflict, "job " + row.spec.id + " has no task that is not done; rerun repeats the whole");
  config.source["steps"] = std::move(steps);
  return {};
}

asio::awaitable<Result<ShownJob>> JobService::repeat(Actor actor, std::string job_id, bool only_what_is_not_done,
                                                     Once once) {
  const auto found = co_await find(actor, job_id);
  if (!found) co_return std::unexpected(found.error());
  if (const auto may = check_change(actor, found->row); !may) co_return std::unexpected(may.error());
  const JobRow& row = found->row;
  if (only_what_is_not_done && !is_terminal(row.state))
    co_return fail(ErrorKind::conflict, "job " + job_id + " is " + std::string(word(row.state)) +
                                            ": its tasks are tried again by themselves; cancel it first");
  auto known = co_await tasks(job_id, 0, only_what_is_not_done ? row.total_tasks : 0);
  if (!known) co_return std::unexpected(known.error());
  auto read = [this, row, known = *std::move(known), only_what_is_not_done]() -> Result<json::object> {
    const std::string text = FUSED_TRY(files_.read_config(row.spec.config_path));
    JobConfig config = FUSED_TRY(parse_job_config(text));
    if (only_what_is_not_done) FUSED_CHECK(leave_rest(row, known, config));
    return std::move(config.source);
  };
  auto config = co_await files_thread_.run(std::move(read));
  if (!config) co_return std::unexpected(config.error());
  JobOptions options = read_options(row.spec.options_json);
  options.derived_from = job_id;
  options.promoted_after_ms = 0;
  options.notes.clear();
  options.request_sha256 = std::move(once.request_sha256);
  JobWish wish{*std::move(config), std::move(options), std::move(once.id)};
  if (actor.user_id == row.spec.user_id) co_return co_await submit(std::move(actor), std::move(wish));
  // An owner of the organisation has it run again; what it runs is its user's, and so are its rights.
  const auto user = people_.user(row.spec.user_id);
  if (!user) co_return fail(ErrorKind::conflict, "the user of job " + job_id + " is not there any more");
  co_return co_await submit(actor_of_user(*user), std::move(wish));
}

}  // namespace fused
