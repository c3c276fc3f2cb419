#include "jobs/local_launcher.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>

#include "base/ids.hpp"
#include "jobs/job_options.hpp"
#include "jobs/job_output.hpp"
#include "jobs/usage_lines.hpp"
#include "run/run_conversation.hpp"
#include "sandbox/group_usage.hpp"
#include "sandbox/process_look.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr auto kTick = std::chrono::seconds(1);
constexpr int kSamplesBeforeHalf = 300;        // then half as often
constexpr std::int64_t kToldTasksMax = 1'000;  // of a job with more, only what goes wrong is told line by line
constexpr std::int64_t kFilesMadeMax = 10'000'000;
constexpr auto kEndLook = std::chrono::milliseconds(20);
constexpr auto kForkPatience = std::chrono::minutes(2);  // a server that has just begun still loads what it forks from

std::string seconds_text(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f s", seconds);
  return text;
}

AttemptEnd end_of(const std::string& outcome) {
  if (outcome == "ok") return AttemptEnd::done;
  if (outcome == "timeout") return AttemptEnd::timeout;
  if (outcome == "out_of_memory") return AttemptEnd::out_of_memory;
  if (outcome == "crashed") return AttemptEnd::crashed;
  return AttemptEnd::failed;
}

// What a client reads beside the bytes: x-fused-metadata, and how to read them.
std::string metadata_of(const RunOutcome& outcome) {
  boost::system::error_code error;
  json::value parsed = json::parse(outcome.metadata, error);
  json::object metadata = !error && parsed.is_object() ? std::move(parsed.get_object()) : json::object{};
  metadata["content_type"] = outcome.ok() ? outcome.content_type : "application/octet-stream";
  return json::serialize(metadata);
}

}  // namespace

struct LocalLauncher::Task {
  Task(const AttemptStart& begun, const JobSpec& of) : start(begun), job(of), options(read_options(of.options_json)) {}
  AttemptStart start;
  JobSpec job;
  JobOptions options;
  std::shared_ptr<RunTicket> ticket = std::make_shared<RunTicket>();
  LineCutter out, err;
  std::shared_ptr<LongRun> adopted;  // it was a request's run before
  bool on_disk = true;               // reads or writes files: no process is expected
  SteadyTime forking_since{};
  SteadyTime next_sample{};
  std::chrono::milliseconds sample_pause = kTick;
  int samples = 0;

  const std::string& id() const { return job.id; }
  std::string name() const {
    return "task " + std::to_string(start.task) +
           (start.attempt > 1 ? " (attempt " + std::to_string(start.attempt) + ")" : "");
  }
};

LocalLauncher::LocalLauncher(asio::io_context& io, RunService& runs, const People& people, StateThread& files_thread,
                             JobFiles& files, JobLogs& logs, LocalLauncherOptions options, Tell tell)
    : io_(io),
      runs_(runs),
      people_(people),
      files_thread_(files_thread),
      files_(files),
      logs_(logs),
      options_(options),
      tell_(std::move(tell)),
      tick_(io) {
  if (!options_.remote) return;
  options_.remote->on_note = [this](const RunTicket& ticket, const std::string& line) {
    for (const auto& [id, task] : tasks_)
      if (task->ticket.get() == &ticket) logs_.add(task->id(), task->start.task, "job", task->name() + ' ' + line);
  };
}

void LocalLauncher::start(const AttemptStart& attempt, const JobSpec& job) {
  auto task = std::make_shared<Task>(attempt, job);
  asio::post(io_, [this, task] {
    if (stopped_) return;
    tasks_.emplace(task->start.id, task);
    asio::co_spawn(io_, run(task), asio::detached);
    if (!std::exchange(looking_, true)) asio::co_spawn(io_, look_after(), asio::detached);
  });
}

void LocalLauncher::adopt(const AttemptStart& attempt, const JobSpec& job, LongRun long_run) {
  if (stopped_) return;  // the next life starts it anew
  auto task = std::make_shared<Task>(attempt, job);
  task->ticket = long_run.ticket;
  task->adopted = std::make_shared<LongRun>(std::move(long_run));
  tasks_.emplace(task->start.id, task);
  tell_adopted(*task);
  began(task, *task->adopted->conversation);  // in the turn of the lines so far: none is missed
  if (const pid_t pid = task->ticket->pid(); pid > 0) note_process(*task, pid);
  asio::co_spawn(io_, run(task), asio::detached);
  if (!std::exchange(looking_, true)) asio::co_spawn(io_, look_after(), asio::detached);
}

void LocalLauncher::kill(AttemptId attempt) {
  asio::post(io_, [this, attempt] {
    const auto found = tasks_.find(attempt);
    if (found != tasks_.end()) found->second->ticket->cancel(RunEnd::cancelled, "its job ended, or it was given up");
  });
}

void LocalLauncher::kill_left_over(const LeftOver& process) {
  asio::post(io_, [this, process] { asio::co_spawn(io_, end_left_over(process), asio::detached); });
}

void LocalLauncher::job_ended(const std::string& job_id) {
  ended_.erase(job_id);
  const auto is_of_it = [&](const auto& entry) { return entry.second->id() == job_id; };
  if (std::ranges::any_of(tasks_, is_of_it))
    ended_.insert(job_id);
  else
    remove_shared(job_id);
}

void LocalLauncher::remove_shared(const std::string& job_id) {
  asio::post(cleaner_, [this, job_id] { files_.tell(job_id, files_.remove_shared(job_id)); });
}

void LocalLauncher::remove_aside(const std::string& name) {
  asio::post(cleaner_, [this, name] { files_.tell(name, files_.remove_aside(name)); });
}

void LocalLauncher::remove_parts(const std::string& job_id, const std::string& folder) {
  asio::post(cleaner_, [this, job_id, folder] { files_.tell(job_id, fused::remove_parts(files_.data(), folder)); });
}

void LocalLauncher::stop() {
  stopped_ = true;
  tick_.cancel();
}

Result<SharedContent> LocalLauncher::load(const JobSpec& job) {
  if (SharedContent kept = contents.find(job.id)) return kept;
  const auto owner = people_.user(job.user_id);
  if (!owner || !owner->enabled)
    return fail(ErrorKind::forbidden, "the user who submitted the job is not there any more, or is disabled");
  const std::string text = FUSED_TRY(files_.read_config(job.config_path));
  SharedContent content = FUSED_TRY(content_of(FUSED_TRY(parse_job_config(text)), *owner));
  contents.keep(job.id, content);
  return content;
}

asio::awaitable<void> LocalLauncher::run(std::shared_ptr<Task> task) {
  if (!task->adopted) tell_start(*task);
  const AttemptOutcome outcome = co_await perform(task);
  const AttemptId id = task->start.id;
  tasks_.erase(id);
  if (stopped_) co_return;
  if (ended_.contains(task->id())) job_ended(task->id());
  const bool cancelled = task->ticket->is_cancelled();
  files_thread_.post([this, job = task->id(), id] { files_.tell(job, files_.forget_process(job, id)); });
  tell_([this, id, outcome, cancelled, job = task->id(), task](Scheduler& scheduler) {
    // One that was told to end has no lease any more, or lost it with its job: only that it is gone is of interest.
    const Told told = cancelled ? Told::late : scheduler.finished(id, outcome);
    scheduler.exited(id, AttemptEnd::crashed, "it was ended");
    if (told != Told::late || outcome.result_path.empty()) return;
    asio::post(io_, [this, job, task, path = outcome.result_path] {
      files_thread_.post([this, job, path] { files_.tell(job, files_.remove_result(job, path)); });
      logs_.add(job, task->start.task, "job",
                task->name() + " brought a result when it was not its turn any more; dropped");
    });
  });
}

// What the run has printed so far, with its times, then what became of it.
void LocalLauncher::tell_adopted(Task& task) {
  constexpr std::size_t kMany = 1 << 30;
  RunConversation& conversation = *task.adopted->conversation;
  conversation.keep_lines();
  const RunLines& lines = *conversation.lines;
  for (std::uint64_t from = 0; from < lines.total();) {
    const RunLines::Part part = lines.read(from, kMany, kMany);
    if (part.left_out > 0)
      logs_.add(task.id(), 0, "job", std::to_string(part.left_out) + " lines of the run were not kept",
                part.lines.empty() ? std::nullopt : std::optional(part.lines.front().line->timestamp_ms));
    for (const auto& [number, line] : part.lines)
      logs_.add(task.id(), 0, line->stream == 1 ? "stdout" : "stderr", line->text, line->timestamp_ms);
    from = part.next;
  }
  const auto none = [](std::string_view) {};
  task.out.feed(lines.part(1), none);
  task.err.feed(lines.part(2), none);
  conversation.close_lines();
  logs_.add(task.id(), -1, "job",
            "run " + task.id() + " reached its limit of " +
                seconds_text(static_cast<double>(task.adopted->limits.wall_ms) / 1e3) +
                " and goes on as this job, instance type " + task.job.instance_type);
  for (const std::string& note : task.options.notes) logs_.add(task.id(), -1, "job", note);
}

void LocalLauncher::tell_start(const Task& task) {
  if (task.start.job_begins) {
    const JobSpec& job = task.job;
    logs_.add(job.id, -1, "job",
              "job '" + job.name + "' begins: " + std::to_string(job.total_tasks()) + " tasks, " +
                  std::to_string(job.parallel_max) + " at once, instance type " + job.instance_type);
    for (const std::string& note : task.options.notes) logs_.add(job.id, -1, "job", note);
  }
  if (task.job.total_tasks() <= kToldTasksMax || task.start.attempt > 1)
    logs_.add(task.id(), task.start.task, "job", task.name() + " begins");
}

Result<RunRequest> LocalLauncher::request_of(const Task& task, const SharedContent& content,
                                             std::filesystem::path shared) const {
  const auto user = people_.user(task.job.user_id);
  if (!user || !user->enabled)
    return fail(ErrorKind::forbidden, "the user who submitted the job is not there any more, or is disabled");
  if (task.start.step >= static_cast<int>(content->steps.size()))
    return fail(ErrorKind::internal, "the job's file has fewer steps than the job");
  const StepContent& step = content->steps[static_cast<std::size_t>(task.start.step)];
  RunRequest request;
  // Holds the content: its text is what the run reads from.
  request.function = SharedFunction(content, step.function.get());
  request.typed = step.parameters;
  request.format.preferences = {"npy", "tiff", "parquet", "json"};
  if (!task.options.formats.empty()) request.format = {task.options.formats, "query", std::nullopt};
  request.actor.kind = ActorKind::user;
  request.actor.role = user->role;
  request.actor.user_id = user->id;
  request.actor.email = user->email;
  request.actor.username = user->username;
  request.actor.organisation = user->organisation;
  request.caller = user->id;
  request.run_id = new_uuid();
  request.folder_id = request.run_id;
  request.recursion = task.options.recursion;
  request.limits = options_.limits;
  request.limits.memory_bytes = task.start.share.memory_bytes;
  if (task.options.disk_bytes > 0) request.limits.disk_written_bytes = task.options.disk_bytes;
  request.limits.files_made = std::max(request.limits.files_made, kFilesMadeMax);
  request.limits.wall_ms = task.job.run_max.count() > 0 ? task.job.run_max.count() : INT64_C(3'600'000) * 1'000;
  request.job =
      TaskOfJob{task.id(),
                task.start.task,
                task.start.attempt,
                std::chrono::floor<std::chrono::milliseconds>(task.job.submitted_at.time_since_epoch()).count(),
                std::string(step.item(task.start.number_in_step)),
                task.options.environment,
                std::move(shared),
                task.options.promoted_after_ms > 0};
  if (step.has_items && request.job->item_json.empty())
    return fail(ErrorKind::internal, "the job's file has fewer items than the job");
  return request;
}

void LocalLauncher::began(const std::shared_ptr<Task>& task, RunConversation& conversation) {
  task->on_disk = false;
  task->forking_since = std::chrono::steady_clock::now();
  conversation.on_output = [this, task](int stream, std::string_view bytes) {
    const auto line = [this, &task, stream](std::string_view text) {
      logs_.add(task->id(), task->start.task, stream == 1 ? "stdout" : "stderr", text);
    };
    (stream == 1 ? task->out : task->err).feed(bytes, line);
  };
  conversation.on_started = [this, task](std::int64_t pid) { note_process(*task, static_cast<pid_t>(pid)); };
}

void LocalLauncher::note_process(const Task& task, pid_t pid) {
  const auto look = look_at(pid);
  if (!look) return;
  files_thread_.post([this, job = task.id(), id = task.start.id, pid, started = look->started] {
    files_.tell(job, files_.note_process(job, id, pid, started));
  });
}

asio::awaitable<AttemptOutcome> LocalLauncher::perform(std::shared_ptr<Task> task) {
  if (task->adopted) {
    auto outcome = co_await task->adopted->ended->wait();
    co_return co_await ended(task, std::move(outcome));
  }
  using Read = std::pair<Result<SharedContent>, Result<std::filesystem::path>>;
  auto read = [this, task] { return Read{load(task->job), files_.make_shared(task->id())}; };
  auto [content, shared] = co_await files_thread_.run(std::move(read));
  if (!content) co_return AttemptOutcome{AttemptEnd::failed, {}, content.error().message};
  if (!shared) co_return AttemptOutcome{AttemptEnd::crashed, {}, shared.error().message};
  auto request = request_of(*task, *content, *std::move(shared));
  if (!request) co_return AttemptOutcome{AttemptEnd::failed, {}, request.error().message};
  RunBegun begun = [this, task](const std::shared_ptr<RunConversation>& conversation) { began(task, *conversation); };
  Result<RunOutcome> outcome = co_await runs_.execute(*std::move(request), task->ticket, std::move(begun));
  co_return co_await ended(task, std::move(outcome));
}

asio::awaitable<AttemptOutcome> LocalLauncher::ended(std::shared_ptr<Task> task, Result<RunOutcome> outcome) {
  task->on_disk = true;
  if (stopped_) co_return AttemptOutcome{AttemptEnd::lost, {}, "the server is stopping"};
  for (const auto& [cutter, stream] : {std::pair{&task->out, "stdout"}, {&task->err, "stderr"}}) {
    const auto line = [&](std::string_view text) { logs_.add(task->id(), task->start.task, stream, text); };
    cutter->end(line);
  }
  if (!outcome) {
    logs_.add(task->id(), task->start.task, "job", task->name() + ": " + outcome.error().message);
    co_return AttemptOutcome{AttemptEnd::crashed, {}, outcome.error().message};
  }
  co_return co_await keep(task, *std::move(outcome));
}

asio::awaitable<AttemptOutcome> LocalLauncher::keep(std::shared_ptr<Task> task, RunOutcome outcome) {
  AttemptOutcome told{end_of(outcome.outcome), {}, outcome.error_message};
  if (!told.error.empty() && !outcome.error_class.empty()) told.error = outcome.error_class + ": " + told.error;
  if (task->ticket->is_cancelled()) {
    logs_.add(task->id(), task->start.task, "job", task->name() + " was ended");
    co_return told;
  }
  if (!outcome.ok())
    logs_.add(task->id(), task->start.task, "job", task->name() + " failed (" + outcome.outcome + "): " + told.error);
  else if (task->job.total_tasks() <= kToldTasksMax)
    logs_.add(task->id(), task->start.task, "job",
              task->name() + " is done after " + seconds_text(outcome.execution_seconds));
  co_await logs_.flushed(task->id());  // who sees the job ended finds its lines
  auto write = [this, task, outcome = std::make_shared<RunOutcome>(std::move(outcome))] {
    return files_.write_result(task->id(), task->start.task, task->start.id, outcome->ok() ? outcome->format : "error",
                               outcome->body.view, metadata_of(*outcome));
  };
  auto written = co_await files_thread_.run(std::move(write));
  if (written) {
    told.result_path = *std::move(written);
  } else if (told.end == AttemptEnd::done) {
    told = {AttemptEnd::crashed, {}, "its result could not be kept: " + written.error().message};
    logs_.add(task->id(), task->start.task, "job", task->name() + ": " + told.error);
  }
  co_return told;
}

// A sign of life: the process that runs the function is there and is not stopped; while files are read or written, that
// this thread goes round.
asio::awaitable<void> LocalLauncher::look_after() {
  const auto beat = std::min<std::chrono::milliseconds>(options_.lease / 3, std::chrono::seconds(10));
  SteadyTime next_beat{};
  while (!stopped_ && !tasks_.empty()) {
    tick_.expires_after(std::min<std::chrono::milliseconds>(kTick, beat));
    boost::system::error_code ignored;
    co_await tick_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    const auto now = std::chrono::steady_clock::now();
    const bool beats = now >= next_beat;
    std::vector<AttemptId> alive;
    for (const auto& [id, task] : tasks_) {
      const bool samples = !task->on_disk && now >= task->next_sample;
      if (!beats && !samples) continue;
      if ((task->on_disk || look(*task, samples)) && beats) alive.push_back(id);
    }
    if (!beats) continue;
    next_beat = now + beat;
    if (!alive.empty())
      tell_([alive = std::move(alive)](Scheduler& scheduler) {
        for (const AttemptId id : alive) scheduler.heartbeat(id);
      });
  }
  looking_ = false;
}

bool LocalLauncher::look(Task& task, bool samples) {
  if (options_.remote && !task.adopted) {
    const RemoteWorkers::Usage usage = options_.remote->usage(*task.ticket);
    if (samples && usage.memory_bytes > 0) sample(task, usage.memory_bytes, usage.cpu_seconds);
    return options_.remote->is_alive(*task.ticket);
  }
  const pid_t pid = task.ticket->pid();
  if (pid == 0) return std::chrono::steady_clock::now() - task.forking_since < kForkPatience;
  const auto found = look_at(working_process(pid));
  if (found && samples) sample(task, task.ticket->memory_bytes(), found->cpu_seconds);
  return found && found->state != 'T' && found->state != 't';
}

void LocalLauncher::sample(Task& task, std::int64_t memory_bytes, double cpu_seconds) {
  if (++task.samples % kSamplesBeforeHalf == 0) task.sample_pause *= 2;
  task.next_sample = std::chrono::steady_clock::now() + task.sample_pause;
  const auto now =
      std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  files_thread_.post([this, job = task.id(), line = usage_line(now, task.start.task, memory_bytes, cpu_seconds)] {
    files_.tell(job, files_.append_usage(job, line));
  });
}

// Workers end with the zygote, and that with the server; what is nevertheless there is ended now.
asio::awaitable<void> LocalLauncher::end_left_over(LeftOver left) {
  auto find = [this, left] { return files_.process(left.job_id, left.id); };
  const auto noted = co_await files_thread_.run(std::move(find));
  if (!noted) files_.tell(left.job_id, std::unexpected(noted.error()));
  const auto process = noted.value_or(std::nullopt);
  while (process && !stopped_) {
    const auto look = look_at(process->pid);
    if (!look || look->started != process->started || look->state == 'Z') break;
    end_group(process->pid);
    asio::steady_timer pause(io_, kEndLook);
    co_await pause.async_wait(asio::use_awaitable);
  }
  if (stopped_) co_return;
  files_thread_.post([this, left] { files_.tell(left.job_id, files_.forget_process(left.job_id, left.id)); });
  tell_([id = left.id](Scheduler& scheduler) { scheduler.exited(id); });
}

}  // namespace fused
