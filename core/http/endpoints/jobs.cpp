#include "http/endpoints/jobs.hpp"

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>

#include "auth/permissions.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"
#include "http/endpoints/state_parts.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::size_t kPage = 100;
constexpr std::size_t kPageMax = 1'000;
constexpr std::int64_t kResultsMax = 100'000;
constexpr std::int64_t kConfigBodyBytes = static_cast<std::int64_t>(kJobConfigBytesMax) + (1 << 20);
constexpr std::int64_t kSmallBody = 64 << 10;
constexpr std::size_t kKeyBytesMax = 200;
constexpr std::int64_t kAmountMax = 1'000'000'000'000;

std::string job_id_of(const Request& request) { return path_value_of(request, "job_id"); }

std::string iso(WallTime time) {
  return utc_text(std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count());
}
// 2026-11-21T10:15:30.042Z: how long a short job took is to be seen.
std::string iso_ms(WallTime time) {
  const auto ms = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
  const std::int64_t seconds = ms / 1'000 - (ms % 1'000 < 0 ? 1 : 0);
  std::string text = utc_text(seconds);
  text.insert(text.size() - 1, '.' + std::to_string(1'000 + ms - seconds * 1'000).substr(1));
  return text;
}
json::value iso_ms(const std::optional<WallTime>& time) {
  return time ? json::value(iso_ms(*time)) : json::value(nullptr);
}
json::value iso(const std::optional<WallTime>& time) { return time ? json::value(iso(*time)) : json::value(nullptr); }
json::value text_or_null(const std::string& text) { return text.empty() ? json::value(nullptr) : json::value(text); }

WallTime since(const JobRow& row) { return row.ended_at.value_or(row.started_at.value_or(row.spec.submitted_at)); }

Reply job_reply(const Result<ShownJob>& job, const Request& request) {
  return reply_of_result(job, request, [](const ShownJob& shown) { return job_record(shown); });
}

// Where the caller reached us, so that a link that he is given reaches us too.
std::string base_of(const Request& request) {
  const std::string_view host = request.header("host");
  if (host.empty()) return {};  // a running function: its channel needs the path only
  return (request.header("x-forwarded-proto") == "https" ? "https://" : "http://") + std::string(host);
}

std::string link_of(const JobParts& parts, const Request& request, const std::string& job_id, std::string_view name) {
  return base_of(request) + "/server/v1/job-files/" + parts.jobs->links().make(job_id, seconds_now(*parts.clock)) +
         '/' + std::string(name);
}

Result<std::int64_t> whole(const Request& request, std::string_view name, std::int64_t least, std::int64_t most,
                           std::int64_t otherwise) {
  const std::string* text = request.query.find(name);
  if (text == nullptr || text->empty()) return otherwise;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc{} || end != text->data() + text->size() || number < least || number > most)
    return fail(ErrorKind::invalid_argument, "'" + std::string(name) + "' is '" + printable(text->substr(0, 40)) +
                                                 "'; it must be a whole number from " + std::to_string(least) + " to " +
                                                 std::to_string(most));
  return number;
}

Result<bool> yes_or_no(const Request& request, std::string_view name, bool otherwise) {
  const std::string* text = request.query.find(name);
  if (text == nullptr || text->empty()) return otherwise;
  if (*text == "true" || *text == "1") return true;
  if (*text == "false" || *text == "0") return false;
  return fail(ErrorKind::invalid_argument,
              "'" + std::string(name) + "' is '" + printable(text->substr(0, 40)) + "'; it must be true or false");
}

// Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): one job, however often the request comes. Of a user and
// of a key it is always the same id; nothing without a key.
Result<JobService::Once> once_of(const Request& request) {
  const std::string_view key = request.header("idempotency-key");
  if (key.empty()) return JobService::Once{};
  if (key.size() > kKeyBytesMax)
    return fail(ErrorKind::invalid_argument, "Idempotency-Key has " + std::to_string(key.size()) +
                                                 " characters; 1 to " + std::to_string(kKeyBytesMax) + " are allowed");
  return JobService::Once{uuid_of("job\n" + request.actor.user_id + '\n' + std::string(key)),
                          sha256_hex(sha256_hex(std::string(method_name(request.method)) + ' ' + request.target) +
                                     sha256_hex(request.body))};
}

// {"config": {…}, …} and the query; the config itself is checked on a thread of its own.
struct Submission {
  JobWish wish;
  json::value on_finish;
};
Result<Submission> submission_of(const Request& request) {
  const BodyObject body = FUSED_TRY(BodyObject::of(request));
  const json::value* config = body.find("config");
  if (config == nullptr || !config->is_object())
    return fail(ErrorKind::invalid_argument,
                "the body has no 'config': it must be {\"config\": {\"name\", \"steps\", \"metadata\"}, …}");
  Submission submission;
  JobOptions& options = submission.wish.options;
  options.instance_type = request.query.value_or("instance_type", "");
  options.region = request.query.value_or("region", "");
  options.priority = static_cast<int>(FUSED_TRY(whole(request, "priority", -kJobPriorityMax, kJobPriorityMax, 0)));
  if (const std::string* disk = request.query.find("disk_size_gb"); disk != nullptr && !disk->empty())
    options.disk_size_gb = FUSED_TRY(whole(request, "disk_size_gb", 1, 16'384, 1));
  options.image_name = FUSED_TRY(body.text("image_name"));
  options.send_status_email = FUSED_TRY(body.yes_or_no("send_status_email", false));
  if (const json::value* list = body.find("additional_env")) options.environment = FUSED_TRY(read_environment(*list));
  if (const json::value* age = body.find("cache_max_age"); age != nullptr && age->is_int64())
    options.cache_max_age = age->get_int64();
  if (const json::value* retries = body.find("max_retry")) {
    if (!retries->is_int64() || retries->get_int64() < 0 || retries->get_int64() > kJobRetriesMax)
      return fail(ErrorKind::invalid_argument,
                  "'max_retry' must be a whole number from 0 to " + std::to_string(kJobRetriesMax));
    options.max_retry = static_cast<int>(retries->get_int64());
  }
  if (const json::value* hooks = body.find("on_finish")) submission.on_finish = *hooks;
  int depth = 1;
  const std::string_view recursion = request.header("fused-recursion");
  std::from_chars(recursion.data(), recursion.data() + recursion.size(), depth);
  options.recursion = std::clamp(depth, 1, 1'000);
  submission.wish.config = config->get_object();
  JobService::Once once = FUSED_TRY(once_of(request));
  submission.wish.id = std::move(once.id);
  options.request_sha256 = std::move(once.request_sha256);
  return submission;
}

// A task that had not ended when its job did ended with it, though its row says what it was waiting for.
std::string shown_state(const TaskRow& task, bool is_job_over) {
  return task.state <= TaskState::running && is_job_over ? "canceled" : std::string(word(task.state));
}

json::object task_record(const TaskRow& task, bool is_job_over) {
  return {{"task", task.number},
          {"step", task.step},
          {"state", shown_state(task, is_job_over)},
          {"attempts", task.attempts},
          {"error", text_or_null(task.error)},
          {"result", task.state == TaskState::done ? text_or_null(shown_result_name(task.result_path)) : nullptr}};
}

json::object attempt_record(const AttemptRow& attempt) {
  return {{"attempt", attempt.id},
          {"task", attempt.task},
          {"ended_as", attempt.end ? json::value(std::string(word(*attempt.end))) : json::value(nullptr)},
          {"error", text_or_null(attempt.error)},
          {"started", iso_ms(attempt.started_at)},
          {"ended", iso_ms(attempt.ended_at)}};
}

Result<JobFilter> filter_of(const Request& request) {
  if (!request.actor.share_token_id.empty())
    return fail(ErrorKind::forbidden, "a run that a share token began sees no jobs");
  JobFilter filter;
  filter.organisation = request.actor.organisation;
  if (FUSED_TRY(yes_or_no(request, "mine", false)) || !may_list_all_of_organisation(request.actor))
    filter.user_id = request.actor.user_id;
  if (const std::string state = request.query.value_or("state", ""); !state.empty()) {
    filter.state = state_of<JobState>(state, kJobStates);
    if (!filter.state)
      return fail(ErrorKind::invalid_argument, "'state' is '" + printable(state.substr(0, 40)) +
                                                   "'; it may be pending, running, done, failed or canceled");
  }
  filter.skip = FUSED_TRY(whole(request, "skip", 0, 1'000'000'000, 0));
  filter.limit = FUSED_TRY(whole(request, "limit", 0, kPageMax, kPage));
  return filter;
}

}  // namespace

json::object job_record(const ShownJob& job) {
  const JobRow& row = job.row;
  const bool is_over = is_terminal(row.state);
  return {{"job_id", row.spec.id},
          {"job_name", row.spec.name},
          {"status", std::string(word(row.state))},
          {"terminal_status", is_over},
          {"total_tasks", row.total_tasks},
          {"finished_tasks", row.finished_tasks},
          {"progress", job.progress},
          {"instance_id", "local"},
          {"instance_type", row.spec.instance_type},
          {"last_heartbeat", iso(job.last_heartbeat)},
          {"job_status", client_word(row.state)},
          {"job_status_date", iso(since(row))},
          {"finished_job_status", is_over},
          {"error", text_or_null(row.error)},
          {"user_id", row.spec.user_id},
          {"user_email", job.user_email},
          {"priority", row.spec.priority},
          {"submitted", iso_ms(row.spec.submitted_at)},
          {"started", iso_ms(row.started_at)},
          {"ended", iso_ms(row.ended_at)},
          {"config_path", "s3://" + row.spec.config_path.substr(3)}};
}

asio::awaitable<Reply> SubmitJob::operator()(Request& request) const {
  // A large one takes its time to be read: not on the server's own thread.
  auto read = [&request] { return submission_of(request); };
  auto submission = co_await parts.jobs->files_thread().run(std::move(read));
  if (!submission) co_return error_reply(submission.error(), request);
  request.body.drop();
  if (!submission->on_finish.is_null()) {
    if (!parts.read_hooks)
      co_return error_reply({ErrorKind::unprocessable, "'on_finish' is not taken by this server", {}}, request);
    auto hooks = parts.read_hooks(request.actor, submission->on_finish);
    if (!hooks) co_return error_reply(hooks.error(), request);
    submission->wish.options.hooks = *std::move(hooks);
  }
  JobOptions& options = submission->wish.options;
  if (options.send_status_email && parts.mail_hook)
    if (auto hook = parts.mail_hook(request.actor)) options.hooks.emplace_back(*std::move(hook));
  co_return job_reply(co_await parts.jobs->submit(request.actor, std::move(submission->wish)), request);
}

asio::awaitable<Reply> GetJobStatus::operator()(Request& request) const {
  co_return job_reply(co_await parts.jobs->find(request.actor, job_id_of(request)), request);
}

asio::awaitable<Reply> CancelJob::operator()(Request& request) const {
  co_return job_reply(co_await parts.jobs->cancel(request.actor, job_id_of(request)), request);
}

asio::awaitable<Reply> IncrementJobProgress::operator()(Request& request) const {
  const auto body = BodyObject::of(request);
  if (!body) co_return error_reply(body.error(), request);
  std::int64_t amount = 1;
  if (const json::value* given = body->find("amount")) {
    if (!given->is_int64() || given->get_int64() < 1 || given->get_int64() > kAmountMax)
      co_return error_reply({ErrorKind::invalid_argument, "'amount' must be a whole number above 0", {}}, request);
    amount = given->get_int64();
  }
  co_return job_reply(co_await parts.jobs->add_progress(request.actor, job_id_of(request), amount), request);
}

asio::awaitable<Reply> ListJobResults::operator()(Request& request) const {
  const auto job = co_await parts.jobs->find(request.actor, job_id_of(request));
  if (!job) co_return error_reply(job.error(), request);
  const std::string& id = job->row.spec.id;
  const auto skip = whole(request, "skip", 0, 1'000'000'000, 0);
  if (!skip) co_return error_reply(skip.error(), request);
  const auto limit = whole(request, "limit", 0, kResultsMax, kResultsMax);
  if (!limit) co_return error_reply(limit.error(), request);
  if (request.query.find("limit") == nullptr && job->row.total_tasks - *skip > kResultsMax)
    co_return error_reply(
        {ErrorKind::invalid_argument,
         "job " + id + " has " + std::to_string(job->row.total_tasks) +
             " tasks; ask for them in parts with 'skip' and 'limit' (at most " + std::to_string(kResultsMax) + ")",
         {}},
        request);
  const auto tasks = co_await parts.jobs->tasks(id, *skip, *limit);
  if (!tasks) co_return error_reply(tasks.error(), request);
  const std::string base = link_of(parts, request, id, "");
  json::array list;
  for (const TaskRow& task : *tasks) {
    if (task.result_path.empty() || (task.state != TaskState::done && task.state != TaskState::failed)) continue;
    const std::string name = shown_result_name(task.result_path);
    for (const std::string& each : {name, name + ".metadata"})
      list.push_back(json::object{{"name", each}, {"url", base + each}});
  }
  co_return json_reply(list);
}

asio::awaitable<Reply> ListOwnJobs::operator()(Request& request) const {
  auto filter = filter_of(request);
  if (!filter) co_return error_reply(filter.error(), request);
  filter->user_id = request.actor.user_id;
  const auto jobs = co_await parts.jobs->list(*std::move(filter));
  co_return reply_of_result(jobs, request, [&](const std::vector<ShownJob>& all) {
    json::array list;
    for (const ShownJob& job : all)
      list.push_back(json::object{{"id", job.row.spec.id},
                                  {"user_id", job.row.spec.user_id},
                                  {"creation_date", iso(job.row.spec.submitted_at)},
                                  {"job_status", client_word(job.row.state)},
                                  {"job_status_date", iso(since(job.row))},
                                  {"instance_id", "local"},
                                  {"instance_type", job.row.spec.instance_type},
                                  {"execution_environment_id", job.row.spec.organisation}});
    return list;
  });
}

asio::awaitable<Reply> GetJobConfig::operator()(Request& request) const {
  const auto job = co_await parts.jobs->find(request.actor, job_id_of(request));
  if (!job) co_return error_reply(job.error(), request);
  Reply reply = Reply::json("{}", 307);
  reply.with("location", link_of(parts, request, job->row.spec.id, "file.json")).with("cache-control", "no-store");
  co_return reply;
}

asio::awaitable<Reply> GetJobFile::operator()(Request& request) const {
  const std::string name = path_value_of(request, "name");
  const std::string job_id = parts.jobs->links().job_of(path_value_of(request, "token"), seconds_now(*parts.clock));
  if (job_id.empty())
    co_return error_reply(
        {ErrorKind::not_found, "this link is unknown or too old; ask for the job's results again for a new one", {}},
        request);
  const auto bytes = co_await parts.jobs->file(job_id, name);
  if (!bytes) co_return error_reply(bytes.error(), request);
  Reply reply;
  reply.body = *bytes;
  std::string type = "application/json";
  if (name != "file.json" && !name.ends_with(".metadata")) {
    type = "application/octet-stream";
    if (const auto about = co_await parts.jobs->file(job_id, name + ".metadata")) {
      boost::system::error_code error;
      const json::value parsed = json::parse(json::string_view(about->view.data(), about->view.size()), error);
      const auto* given = !error && parsed.is_object() ? parsed.get_object().if_contains("content_type") : nullptr;
      if (given != nullptr && given->is_string()) type = std::string(given->get_string());
    }
  }
  // A function's HTML must not run as a page of this server.
  reply.with("content-type", type)
      .with("cache-control", "private, no-store")
      .with("content-security-policy", "sandbox");
  co_return reply;
}

asio::awaitable<Reply> ListJobs::operator()(Request& request) const {
  const auto filter = filter_of(request);
  if (!filter) co_return error_reply(filter.error(), request);
  const auto jobs = co_await parts.jobs->list(*filter);
  co_return reply_of_result(jobs, request, [&](const std::vector<ShownJob>& all) {
    json::array list;
    for (const ShownJob& job : all) list.push_back(job_record(job));
    return json::object{{"jobs", std::move(list)}, {"skip", filter->skip}, {"limit", filter->limit}};
  });
}

asio::awaitable<Reply> ShowJob::operator()(Request& request) const {
  const auto job = co_await parts.jobs->find(request.actor, job_id_of(request));
  if (!job) co_return error_reply(job.error(), request);
  const auto skip = whole(request, "skip", 0, 1'000'000'000, 0);
  if (!skip) co_return error_reply(skip.error(), request);
  const auto limit = whole(request, "limit", 0, kPageMax, kPage);
  if (!limit) co_return error_reply(limit.error(), request);
  const auto links = yes_or_no(request, "links", false);
  if (!links) co_return error_reply(links.error(), request);
  const std::string& id = job->row.spec.id;
  const auto tasks = co_await parts.jobs->tasks(id, *skip, *limit);
  if (!tasks) co_return error_reply(tasks.error(), request);
  const auto attempts_skip = whole(request, "attempts_skip", 0, 1'000'000'000, 0);
  if (!attempts_skip) co_return error_reply(attempts_skip.error(), request);
  const auto attempts = co_await parts.jobs->attempts(id, *attempts_skip, *limit);
  if (!attempts) co_return error_reply(attempts.error(), request);
  json::object record = job_record(*job);
  const JobOptions options = read_options(job->row.spec.options_json);
  record["options"] = shown_options(options);
  record["notes"] = json::array(options.notes.begin(), options.notes.end());
  json::array steps;
  for (const StepPlan& step : job->row.spec.steps)
    steps.push_back(json::object{{"tasks", step.tasks}, {"ignore_chunk_error", step.ignore_chunk_error}});
  record["steps"] = std::move(steps);
  record["tasks_at_once"] = job->row.spec.parallel_max;
  record["task_memory_bytes"] = job->row.spec.task_share.memory_bytes;
  json::array task_list, attempt_list;
  for (const TaskRow& task : *tasks) {
    json::object about = task_record(task, is_terminal(job->row.state));
    if (*links && !task.result_path.empty()) {
      const std::string name = shown_result_name(task.result_path);
      about["url"] = link_of(parts, request, id, name);
      about["metadata_url"] = link_of(parts, request, id, name + ".metadata");
    }
    task_list.push_back(std::move(about));
  }
  for (const AttemptRow& attempt : *attempts) attempt_list.push_back(attempt_record(attempt));
  record["tasks"] = std::move(task_list);
  record["attempts"] = std::move(attempt_list);
  if (parts.hooks_of) record["hooks"] = co_await parts.hooks_of(id);
  co_return json_reply(record);
}

asio::awaitable<Reply> RemoveJob::operator()(Request& request) const {
  const auto removed = co_await parts.jobs->remove(request.actor, job_id_of(request));
  co_return removed ? json_reply(true) : error_reply(removed.error(), request);
}

asio::awaitable<Reply> GetJobUsage::operator()(Request& request) const {
  const auto job = co_await parts.jobs->find(request.actor, job_id_of(request));
  if (!job) co_return error_reply(job.error(), request);
  const auto lines = co_await parts.jobs->usage(job->row.spec.id);
  if (!lines) co_return error_reply(lines.error(), request);
  co_return Reply::json(array_of_lines(*lines)).with("cache-control", "no-store");
}

asio::awaitable<Reply> RepeatJob::operator()(Request& request) const {
  auto once = once_of(request);
  if (!once) co_return error_reply(once.error(), request);
  auto job = co_await parts.jobs->repeat(request.actor, job_id_of(request), only_what_is_not_done, *std::move(once));
  co_return job_reply(job, request);
}

std::vector<Route> job_routes(JobParts& parts) {
  using enum Method;
  const std::string run = "/server/v1/run";
  const std::string by_id = run + "/by-id/{job_id}";
  const std::string own = "/api/v1/jobs";
  const std::string one = own + "/{job_id}";
  using enum Access;
  return {
      {post, run, run_or_user, SubmitJob{parts}, "submit_job", kConfigBodyBytes},
      {get, by_id, run_or_user, GetJobStatus{parts}, "get_job_status"},
      {post, by_id + "/cancel", run_or_user, CancelJob{parts}, "cancel_job", kSmallBody},
      {post, by_id + "/increment-progress", run_or_user, IncrementJobProgress{parts}, "increment_job_progress",
       kSmallBody},
      {get, by_id + "/results", run_or_user, ListJobResults{parts}, "list_job_results"},
      {get, "/server/v1/logs/{job_id}", run_or_user, GetJobLogs{parts}, "get_job_logs"},
      {get, "/server/v1/job/self", run_or_user, ListOwnJobs{parts}, "list_own_jobs"},
      {get, "/server/v1/job/by-id/{job_id}/config", run_or_user, GetJobConfig{parts}, "get_job_config"},
      {get, "/server/v1/job-files/{token}/{name}", share_path, GetJobFile{parts}, "get_job_file"},
      {get, own, run_or_user, ListJobs{parts}, "list_jobs"},
      {get, one, run_or_user, ShowJob{parts}, "show_job"},
      {delete_, one, signed_in, RemoveJob{parts}, "remove_job"},
      {get, one + "/logs", run_or_user, FollowJobLog{parts}, "follow_job_log"},
      {get, one + "/usage", run_or_user, GetJobUsage{parts}, "get_job_usage"},
      {post, one + "/retry", run_or_user, RepeatJob{parts, true}, "retry_job", kSmallBody},
      {post, one + "/rerun", run_or_user, RepeatJob{parts, false}, "rerun_job", kSmallBody},
  };
}

}  // namespace fused
