#include "application_parts.hpp"

#include <spdlog/spdlog.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cstdlib>
#include <fstream>

#include "sandbox/sandbox.hpp"
#include "storage/migrations.hpp"
#include "worker/limits_json.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::int64_t kCallsMemoryBytes = 2LL << 30;  // of what makes calls.parquet: 16 million rows take half
constexpr std::int64_t kCallsTableBytes = 16LL << 30;

std::filesystem::path program_folder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();  // …/fused/bin
}

// Folders that a Python process needs to read: the environment, what it was made from, and this package.
json::array python_paths(const Settings& settings) {
  std::error_code error;
  json::array paths;
  const auto add = [&](const std::filesystem::path& path) {
    if (path.has_relative_path() && std::filesystem::exists(path, error)) paths.emplace_back(path.string());
  };
  const std::filesystem::path python = settings.python;
  add(python.parent_path().parent_path());                                     // the environment
  add(std::filesystem::canonical(python, error).parent_path().parent_path());  // its base
  add(program_folder().parent_path().parent_path());                           // where `fused` lies
  return paths;
}

std::vector<std::string> worker_environment(const Settings& settings) {
  std::vector<std::string> environment{"PATH=/usr/local/bin:/usr/bin:/bin",
                                       "LANG=C.UTF-8",
                                       "PYTHONUNBUFFERED=1",
                                       "PYTHONDONTWRITEBYTECODE=1",
                                       "PYTHONPATH=" + program_folder().parent_path().parent_path().string(),
                                       "FUSED_WORKERS=" + std::to_string(settings.workers)};
  if (!settings.s3_endpoint.empty()) environment.push_back("AWS_ENDPOINT_URL=" + settings.s3_endpoint);
  // Where TLS looks for the machine's certificates is no secret, and functions that fetch need it.
  for (const char* name :
       {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "TZ", "FUSED_DOWNLOAD_PRIVATE"})
    if (const char* value = std::getenv(name)) environment.push_back(std::string(name) + '=' + value);
  // Whoever starts the server decides whether every function may use his keys of the object store.
  if (settings.share_s3_keys)
    for (const char* name : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"})
      if (const char* value = std::getenv(name))
        environment.push_back("FUSED_SHARED_" + std::string(name) + '=' + value);
  return environment;
}

std::optional<Method> parse_method(std::string_view name) {
  for (const Method method : {Method::get, Method::head, Method::post, Method::put, Method::delete_, Method::patch})
    if (method_name(method) == name) return method;
  return std::nullopt;
}

Error no_function(std::string_view name) {
  return {ErrorKind::not_found,
          "there is no function '" + std::string(name.substr(0, 120)) +
              "' that you may run; GET /server/v1/udf/self lists yours",
          {}};
}

}  // namespace

Status State::open(const Settings& settings, const Clock& clock) {
  data = FUSED_TRY(DataFolder::open(settings.data));
  database = FUSED_TRY(Database::open(data->state_db(), data->gate()));
  FUSED_CHECK(migrate(*database));
  people.emplace(*database, *data, clock);
  FUSED_CHECK(people->start());
  shares.emplace(*database, *data, clock);
  FUSED_CHECK(shares->start());
  saved.emplace(*database, *data, clock);
  FUSED_CHECK(saved->start());
  authenticator.emplace(*people, *shares, run_tokens);
  return {};
}

FunctionOwner owner_of(const State& state) {
  const User user = state.people->owner_of_server();
  return {user.id, user.email, user.username, user.organisation};
}

void tell_isolation(const json::object& report, const std::filesystem::path& mount) {
  const auto text = [&](std::string_view name) {
    const auto* value = report.if_contains(name);
    return value ? json::serialize(*value) : std::string("[]");
  };
  spdlog::info("functions are isolated by {}", text("isolation"));
  if (const auto* skipped = report.if_contains("skipped"); skipped && skipped->is_array())
    for (const auto& step : skipped->get_array())
      // Libraries keep descriptors that the zygote opened; closing them was not asked for.
      if (step.is_object() && step.at("step").as_string() != "descriptors")
        spdlog::warn("this machine does not allow the isolation step {}", json::serialize(step));
  if (text("mount") != "\"env\"") return;
  if (const auto linked = prepare_mount_link(mount); linked)
    spdlog::info("/mount is a link to {}", mount.string());
  else
    spdlog::warn(
        "/mount is not to be had inside functions ({}); they find the folder by the variable FUSED_MOUNT. To mend it, "
        "as root: ln -s {} /mount",
        linked.error().message, mount.string());
}

std::string owner_token(const State& state) {
  std::ifstream file(state.data->path() / "token");
  std::string token;
  file >> token;
  return token;
}

PoolOptions pool_options(const Settings& settings, const DataFolder& data) {
  PoolOptions options;
  options.workers = settings.workers;
  options.queue_length = static_cast<std::size_t>(settings.queue_length);
  options.worker_runs_max = settings.worker_runs_max;
  options.recursion_max = settings.recursion_max;
  options.limits = settings.limits;
  options.scratch = std::filesystem::absolute(data.scratch());
  options.sandbox = {{"isolation", settings.isolation},
                     {"data", std::filesystem::absolute(data.path()).string()},
                     {"mount", std::filesystem::absolute(data.mount()).string()},
                     {"python_paths", python_paths(settings)},
                     {"network", settings.network},
                     {"limits", limits_json(settings.limits)}};
  options.zygote = {settings.python, worker_environment(settings)};
  options.first_report = [mount = std::filesystem::absolute(data.mount())](const json::object& report) {
    tell_isolation(report, mount);
  };
  return options;
}

FunctionFinder function_finder(State& state) {
  FunctionFinder finder;
  finder.by_name = [&state](const Actor& actor, std::string_view email,
                            std::string_view name) -> Result<SharedFunction> {
    const FunctionStore& functions = state.functions();
    SharedSaved found;
    if (email.empty())
      found = functions.by_email(actor.email, FunctionStore::kCollection, name);
    else if (email == "team")
      found = functions.in_organisation(actor.organisation, FunctionStore::kCollection, name);
    else
      found = functions.by_email(email, FunctionStore::kCollection, name);
    if (!found && email.empty()) found = functions.by_id(name);
    if (!found || found->owner.organisation != actor.organisation) return std::unexpected(no_function(name));
    return found->source;
  };
  finder.by_id = [&state](const Actor& actor, std::string_view id) -> SharedFunction {
    const SharedSaved found = state.functions().by_id(id);
    return found && found->owner.organisation == actor.organisation ? found->source : nullptr;
  };
  finder.by_revision = [&state](Actor actor, std::string id,
                                std::string revision) -> asio::awaitable<Result<SharedFunction>> {
    const SharedSaved found = state.functions().by_id(id);
    if (!found || found->owner.organisation != actor.organisation) co_return std::unexpected(no_function(id));
    auto read = [saved = &state.functions(), id, revision] { return saved->revision_source(id, revision); };
    co_return co_await state.thread.run(std::move(read));
  };
  finder.by_share_token = [&state](std::string_view text, const Actor& asker) -> Result<FunctionFinder::Shared> {
    const auto refuse = [] { return fail(ErrorKind::not_found, "this share token is unknown, expired or revoked"); };
    const auto token = state.shares->valid(text);
    if (!token) return refuse();
    const auto maker = state.people->user(token->user_id);
    FUSED_CHECK(check_share_scope(*token, maker ? maker->organisation : "", asker));
    const SharedSaved function = state.functions().by_id(token->function_id);
    if (!function)  // only one of a folder leaves its tokens behind
      return fail(ErrorKind::not_found,
                  "the function of this share token is not served any more: its file is gone from the served folder");
    Actor actor = actor_of_share_token(*token, function->owner.organisation);
    actor.email = function->owner.email;
    return FunctionFinder::Shared{function->source, std::move(actor), is_for_everybody(*token), token->cache};
  };
  return finder;
}

void fill_state_parts(Parts& parts, State& state) {
  parts.authenticate = [&state](std::string_view authorization) {
    return state.authenticator->authenticate(authorization);
  };
  parts.list_functions = [&state](const Actor& actor) {
    json::array rows;
    for (const auto& function : state.functions().list({.organisation = actor.organisation}))
      rows.push_back(json::object{{"name", function->slug},
                                  {"url", "/api/v1/run/" + function->owner.email + '/' + function->slug},
                                  {"description", function->is_from_folder() ? "from " + function->file
                                                                             : "saved by " + function->owner.email}});
    return rows;
  };
}

NestedHandler nested_handler(Dispatcher& dispatcher) {
  return [&dispatcher](NestedRequest nested) -> asio::awaitable<NestedReply> {
    Request request;
    const auto method = parse_method(nested.method);
    if (!method) {
      Reply refusal = Reply::error(
          Error{ErrorKind::method_not_allowed, "method '" + nested.method.substr(0, 20) + "' is unknown", {}}, "");
      co_return NestedReply{refusal.status, std::move(refusal.headers), std::move(refusal.body)};
    }
    request.method = *method;
    request.target = std::move(nested.target);
    for (auto& [name, value] : nested.headers) {
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      request.headers.emplace_back(std::move(name), std::move(value));
    }
    request.body = std::move(nested.body);
    request.actor = std::move(nested.actor);
    request.peer = "function";
    request.received = std::chrono::steady_clock::now();
    request.on_disconnect = std::move(nested.on_end);
    Reply reply = co_await dispatcher.answer_call(request);
    co_return NestedReply{reply.status, std::move(reply.headers), std::move(reply.body)};
  };
}

std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>>& variables) {
  std::vector<std::string> lines;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view line = *variable;
    const auto is_given = [&](const auto& each) { return line.starts_with(each.first + '='); };
    if (!line.starts_with("PYTHONPATH=") && std::ranges::none_of(variables, is_given)) lines.emplace_back(line);
  }
  lines.push_back("PYTHONPATH=" + program_folder().parent_path().parent_path().string());
  for (const auto& [name, value] : variables) lines.push_back(name + '=' + value);
  return lines;
}

HistoryOutboxOptions outbox_options(const Settings& settings, const DataFolder& data) {
  return {.endpoint = settings.s3_endpoint,
          .data = std::filesystem::absolute(data.path()),
          .sender = {settings.python, "-m", "fused._send_objects"},
          .environment = environment_with({{"AWS_ENDPOINT_URL", settings.s3_endpoint}})};
}

HookOutboxOptions hook_options(const Settings& settings) {
  return {.sender = {settings.python, "-m", "fused._send_hooks"},
          .environment =
              environment_with({{"FUSED_SMTP_URL", settings.smtp_url}, {"FUSED_SMTP_FROM", settings.smtp_from}})};
}

ServerFigures figures_of(const State& state, const Pool& pool, const RunService& runs, const RunLog& log) {
  struct statvfs disk{};
  ::statvfs(state.data->path().c_str(), &disk);
  return {.pool = pool.figures(),
          .runs = runs.figures(),
          .logs = log.metrics(),
          .read_only = state.data->gate().reason(),
          .functions = state.saved->count(),
          .cache = {},
          .history = {},
          .tables = {},
          .jobs = {},
          .batches = {},
          .disk_free_bytes = static_cast<std::int64_t>(disk.f_bavail * disk.f_frsize),
          .disk_size_bytes = static_cast<std::int64_t>(disk.f_blocks * disk.f_frsize),
          .disk_free_inodes = static_cast<std::int64_t>(disk.f_favail)};
}

json::object health_of(const ServerFigures& f) {
  // Nobody knows what the machine allows before the first worker has tried it.
  json::object isolation{{"state", f.pool.isolation.empty() ? "starting" : "in force"}};
  for (const auto& member : f.pool.isolation) isolation[member.key()] = member.value();
  const RunLogMetrics& logs = f.logs;
  return {{"read_only", f.read_only},  // "" while what is acknowledged can be made safe
          {"isolation", std::move(isolation)},
          {"workers", json::object{{"slots", f.pool.workers},
                                   {"alive", f.pool.alive},
                                   {"busy", f.pool.busy},
                                   {"blank", f.pool.blank},
                                   {"forked", f.pool.forked},
                                   {"ended", f.pool.lost},
                                   {"of_jobs", f.pool.beside},
                                   {"spare_for_jobs", f.pool.spares},
                                   {"spare_bytes", f.pool.spare_bytes}}},
          {"queue", json::object{{"waiting", f.pool.queued}, {"refused", f.pool.refused}}},
          {"batches", json::object{{"open", f.batches.open},
                                   {"opened", f.batches.opened},
                                   {"calls_waiting", f.batches.waiting},
                                   {"calls", f.batches.calls}}},
          {"runs",
           json::object{
               {"started", f.runs.started}, {"ok", f.runs.ok}, {"failed", f.runs.failed}, {"running", f.runs.running}}},
          {"logs", json::object{{"backlog_records", logs.backlog_records},
                                {"backlog_bytes", logs.backlog_bytes},
                                {"seconds_behind", logs.seconds_behind},
                                {"replaying", logs.replaying},
                                {"folders_written", logs.folders_written},
                                {"folders_given_up", logs.folders_given_up},
                                {"records_lost", logs.records_lost},
                                {"journal_damaged", logs.journal_damaged},
                                {"errors", logs.errors},
                                {"used_bytes", logs.used.bytes},
                                {"limit_bytes", logs.bytes_max},
                                {"used_inodes", logs.used.inodes},
                                {"limit_inodes", logs.inodes_max},
                                {"folder_cpu_seconds", logs.folder_cpu_seconds}}},
          {"disk", json::object{{"free_bytes", f.disk_free_bytes},
                                {"size_bytes", f.disk_size_bytes},
                                {"free_inodes", f.disk_free_inodes}}},
          {"cache", json::object{{"hits", f.cache.hits},
                                 {"stale", f.cache.stale},
                                 {"joined", f.cache.joined},
                                 {"misses", f.cache.misses},
                                 {"stored", f.cache.stored},
                                 {"not_stored", f.cache.not_stored},
                                 {"entries", f.cache.disk.entries},
                                 {"bytes", f.cache.disk.bytes},
                                 {"limit_bytes", f.cache.limit_bytes},
                                 {"memory_entries", f.cache.memory_entries},
                                 {"memory_bytes", f.cache.memory_bytes},
                                 {"evictions", f.cache.disk.evicted},
                                 {"compactions", f.cache.disk.compacted},
                                 {"damaged", f.cache.disk.damaged},
                                 {"trouble", f.cache.trouble}}},
          {"history", json::object{{"object_store", f.history.endpoint},
                                   {"backlog", f.history.backlog},
                                   {"sent", f.history.sent},
                                   {"failed", f.history.failed},
                                   {"trouble", f.history.trouble}}},
          {"functions", f.functions},
          {"sqlite_version", std::string(Database::sqlite_version())}};
}

ResultCacheOptions cache_options(const Settings& settings, const DataFolder& data) {
  ResultCacheOptions options;
  options.disk.folder = std::filesystem::absolute(data.path()) / "cache";
  options.disk.bytes_max = settings.cache_bytes_max;
  options.memory_bytes = static_cast<std::size_t>(settings.cache_memory_bytes);
  options.hit_days_kept = settings.log_retention_days;
  return options;
}

EnvironmentDigest environment_of(const Settings& settings, const Clock& clock) {
  return {settings.python, FUSED_VERSION, program_folder().parent_path(), clock};
}

UseCheck use_check(State& state) {
  return {std::filesystem::absolute(state.data->mount()),
          [&state](const std::string& id) -> std::optional<std::string> {
            const SharedSaved found = state.functions().by_id(id);
            return found ? std::optional(found->revision) : std::nullopt;
          }};
}

BatchServiceOptions batch_options(const Settings& settings, const DataFolder& data) {
  std::error_code error;
  PoolOptions pool = pool_options(settings, data);
  json::object sandbox = std::move(pool.sandbox);
  sandbox["network"] = false;
  sandbox["scratch"] = (pool.scratch / "calls").string();
  json::object& limits = sandbox["limits"].as_object();
  limits["memory_bytes"] = kCallsMemoryBytes;
  limits["disk_written_bytes"] = kCallsTableBytes;
  return {.data = std::filesystem::absolute(data.path()),
          .calls_table = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "fused-table",
          .sandbox = std::move(sandbox),
          .workers = settings.workers};
}

std::filesystem::path web_folder() { return program_folder().parent_path() / "web"; }

}  // namespace fused
