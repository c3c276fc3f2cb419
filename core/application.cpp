#include "application.hpp"

#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <spdlog/spdlog.h>
#include <sys/statvfs.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <fstream>
#include <iostream>

#include "application_hooks.hpp"
#include "application_jobs.hpp"
#include "application_parts.hpp"
#include "application_ray.hpp"
#include "application_schedules.hpp"
#include "application_tables.hpp"
#include "base/log.hpp"
#include "http/endpoints/batches.hpp"
#include "http/endpoints/cache.hpp"
#include "http/routes.hpp"
#include "run/run_order_json.hpp"

namespace fused {
namespace asio = boost::asio;

struct Application::Everything {
  Everything(asio::io_context& loop, const Settings& given) : io(loop), settings(given) {}
  asio::io_context& io;
  Settings settings;
  Clock clock;
  State state;  // data folder, database, people, functions, tokens
  std::unique_ptr<HistoryOutbox> outbox;
  std::unique_ptr<RunLog> log;
  std::unique_ptr<Pool> pool;
  std::unique_ptr<Tables> tables;
  std::unique_ptr<RayJobs> ray;  // tasks of jobs on other machines
  std::unique_ptr<RunService> runs;
  std::unique_ptr<ResultCache> cache;
  std::optional<EnvironmentDigest> environment;
  std::unique_ptr<CachedRuns> cached;
  CacheParts cache_parts;
  std::unique_ptr<RunRegistry> registry;
  std::unique_ptr<BatchService> batches;
  std::unique_ptr<Jobs> jobs;
  std::unique_ptr<Schedules> schedules;
  std::unique_ptr<Hooks> hooks;
  RunParts run_parts;
  BatchParts batch_parts;
  StateParts state_parts;
  Sessions sessions{clock};
  prometheus::Registry metrics;
  Parts parts;
  std::unique_ptr<Dispatcher> dispatcher;
  std::unique_ptr<Server> server;
  std::unique_ptr<ServedFolder> folder;
  int port = 0;
  std::function<void(const std::string& why)> unfit;  // there will be no workers
  bool has_failed = false;
  bool is_stopping = false;

  // The steps of a start, in their order.
  Status open_what_is_kept();
  Status open_what_runs();
  Status open_who_answers();
  Status open_what_goes_on();  // jobs, schedules, hooks
  void tell_figures();
  Result<std::string> listen();  // gives the address
  Status serve_folder();
};

Application::Application(std::unique_ptr<Everything> all) : all_(std::move(all)) {}
Application::~Application() = default;

std::string Application::routes_text() {
  Settings settings;
  Clock clock;
  RunParts run_parts;
  StateParts state_parts;
  CacheParts cache_parts;
  Parts parts;
  parts.cache = &cache_parts;
  parts.settings = &settings;
  parts.clock = &clock;
  parts.run = &run_parts;
  parts.state = &state_parts;
  TableParts table_parts;
  parts.tables = &table_parts;
  BatchParts batch_parts;
  parts.batches = &batch_parts;
  JobParts job_parts;
  parts.jobs = &job_parts;
  ScheduleParts schedule_parts;
  parts.schedules = &schedule_parts;
  AttemptParts attempt_parts;
  parts.attempts = &attempt_parts;
  return print_routes(all_routes(parts));
}

Status Application::Everything::open_what_is_kept() {
  FUSED_CHECK(state.open(settings, clock));
  RunLogOptions log_options{.mount = state.data->mount(), .journal = state.data->journal()};
  log_options.retention.days = settings.log_retention_days;
  log_options.retention.disk_share = settings.log_disk_share;
  log = FUSED_TRY(RunLog::open(std::move(log_options), clock));

  outbox =
      std::make_unique<HistoryOutbox>(outbox_options(settings, *state.data), [this](std::vector<std::string> paths) {
        state.thread.post([this, paths = std::move(paths)] {
          if (const Status noted = state.functions().history_sent(paths); !noted)
            spdlog::warn("sent history files are sent once more at the next start: {}", noted.error().message);
        });
      });
  if (!settings.s3_endpoint.empty()) outbox->add(FUSED_TRY(state.functions().unsent_history()));
  state.functions().set_saved([this](const std::string& path) { outbox->add({path}); });

  ray = FUSED_TRY(RayJobs::open(io, state, settings, pool_options(settings, *state.data)));
  return {};
}

// The pool starts before the port is bound, so that workers come up meanwhile.
Status Application::Everything::open_what_runs() {
  PoolOptions workers = pool_options(settings, *state.data);
  workers.unfit = [this](const std::string& why) { unfit(why); };
  pool = std::make_unique<Pool>(io, std::move(workers));
  FUSED_CHECK(pool->start());
  runs = std::make_unique<RunService>(io, *pool, *log, state.run_tokens,
                                      RunServiceOptions{.recursion_max = settings.recursion_max,
                                                        .worker_growth_bytes = settings.worker_growth_bytes,
                                                        .cache_secrets = FUSED_TRY(CacheSecrets::open(*state.data))});
  runs->set_remote(ray->workers.get());
  cache = ResultCache::open(io, cache_options(settings, *state.data), clock);
  environment.emplace(environment_of(settings, clock));
  runs->set_environment([environment = &*environment] { return environment->current().hex(); });
  cached = std::make_unique<CachedRuns>(io, *runs, *pool, *cache, *environment, use_check(state),
                                        CachedRunsOptions{settings.cache_max_age_seconds});
  cache_parts = {cached.get(), &state.functions()};
  registry = std::make_unique<RunRegistry>(io, *runs);
  run_parts = {.web = web_folder(),
               .registry = registry.get(),
               .runs = runs.get(),
               .cached = cached.get(),
               .functions = function_finder(state),
               .limits = settings.limits};

  batches = std::make_unique<BatchService>(io, *runs, cached.get(), *log, batch_options(settings, *state.data));
  batch_parts = {batches.get(), &run_parts};
  return {};
}

Status Application::Everything::open_who_answers() {
  parts.settings = &settings;
  parts.clock = &clock;
  parts.version = FUSED_VERSION;
  parts.spool_folder = state.data->path();
  parts.run = &run_parts;
  parts.cache = &cache_parts;
  parts.batches = &batch_parts;
  parts.metrics = &metrics;
  state_parts = {.functions = &state.functions(),
                 .shares = &*state.shares,
                 .people = &*state.people,
                 .thread = &state.thread,
                 .clock = &clock};
  parts.state = &state_parts;
  tables = FUSED_TRY(Tables::open(io, state, settings, pool_options(settings, *state.data), clock));
  parts.tables = &tables->parts;
  state_parts.tables = &tables->registry;
  parts.sessions = &sessions;
  return {};
}

Status Application::Everything::open_what_goes_on() {
  jobs = FUSED_TRY(Jobs::open(io, state, settings, *runs, *ray, *outbox, clock));
  parts.jobs = &jobs->parts;
  run_parts.jobs = jobs->service.get();
  schedules = FUSED_TRY(Schedules::open(io, state, *jobs->service, clock));
  parts.schedules = &schedules->parts;
  parts.attempts = &ray->parts;
  hooks = std::make_unique<Hooks>(io, state, *jobs->service, jobs->parts, settings, clock);
  fill_state_parts(parts, state);
  return {};
}

void Application::Everything::tell_figures() {
  parts.figures = [this] {
    ServerFigures figures = figures_of(state, *pool, *runs, *log);
    figures.cache = cache->figures();
    figures.history = outbox->figures();
    figures.tables = tables->service->figures();
    figures.jobs = jobs->service->figures();
    figures.batches = batches->figures();
    return figures;
  };
  parts.health = [this] {
    const ServerFigures figures = parts.figures();
    boost::json::object health = health_of(figures);
    health["jobs"] = health_of(figures.jobs);
    if (ray->is_on()) health["ray"] = ray->health();
    return health;
  };
}

Result<std::string> Application::Everything::listen() {
  dispatcher = std::make_unique<Dispatcher>(parts, all_routes(parts));
  runs->set_nested_handler(cached->noting(nested_handler(*dispatcher)));
  server = std::make_unique<Server>(io, *dispatcher);
  port = FUSED_TRY(server->listen(settings.host, settings.port));
  const std::string base_url =
      "http://" + (settings.host.find(':') == std::string::npos ? settings.host : '[' + settings.host + ']') + ':' +
      std::to_string(port);
  runs->set_base_url(base_url);
  ray->serve(base_url);
  return base_url;
}

Status Application::Everything::serve_folder() {
  if (settings.serve_folder.empty()) return {};
  const FunctionOwner owner = owner_of(state);
  ServedFolder::Describe describe = [this, key = worker_key(owner.organisation, owner.id)](std::string header) {
    return pool->describe(std::move(header), key);
  };
  folder = std::make_unique<ServedFolder>(io, settings.serve_folder, state.functions(), owner, std::move(describe));
  FUSED_CHECK(folder->load());
  if (settings.watch) FUSED_CHECK(folder->watch());
  return {};
}

Result<std::unique_ptr<Application>> Application::start(asio::io_context& io, const Settings& settings) {
  auto all = std::make_unique<Everything>(io, settings);
  Everything& a = *all;
  const auto begin = std::chrono::steady_clock::now();
  FUSED_CHECK(Server::can_listen(settings.host, settings.port));  // a start that is refused leaves nothing behind
  FUSED_CHECK(a.open_what_is_kept());
  FUSED_CHECK(a.open_what_runs());
  FUSED_CHECK(a.open_who_answers());
  FUSED_CHECK(a.open_what_goes_on());
  a.tell_figures();
  const std::string base_url = FUSED_TRY(a.listen());
  FUSED_CHECK(a.serve_folder());
  const auto took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  spdlog::info("{} workers, isolation {}, ready after {:.1f} ms", settings.workers, settings.isolation, took);
  flush_log();
  std::cout << "fused-server " << FUSED_VERSION << " serves " << base_url << " (data in "
            << a.state.data->path().string() << ")\n";
  if (a.folder)
    for (const auto& name : a.folder->names())
      std::cout << "  " << base_url << "/api/v1/run/" << owner_of(a.state).email << '/' << name << "\n";

  std::cout << "Sign in to the page once, within 10 minutes: " << base_url
            << "/sign-in?code=" << a.sessions.make_code("Bearer " + owner_token(a.state)) << "\n"
            << std::flush;
  a.unfit = [&a](const std::string& why) {
    spdlog::error("{}", why);
    a.has_failed = true;
    stop(a);
  };
  return std::unique_ptr<Application>(new Application(std::move(all)));
}

bool Application::has_failed() const { return all_->has_failed; }

void Application::begin_stop() { stop(*all_); }

void Application::stop(Everything& a) {
  if (std::exchange(a.is_stopping, true)) return;
  if (a.has_failed) a.pool->stop();  // those that wait for a worker hear so now
  spdlog::info("stopping: running requests may finish within {} s", a.settings.drain_seconds);
  flush_log();
  asio::co_spawn(
      a.io,
      [&a]() -> asio::awaitable<void> {
        a.schedules->stop();
        a.hooks->stop();
        a.jobs->service->drain();
        a.registry->drain();
        a.batches->stop("the server is stopping");
        if (a.ray->is_on()) {  // what runs on other machines cannot tell us any more: the next life takes it up
          a.jobs->service->stop();
          a.ray->stop();
        }
        co_await a.server->drain(std::chrono::seconds(a.settings.drain_seconds));
        co_await a.batches->finish();
        if (a.folder) a.folder->stop();
        a.jobs->service->stop();
        a.registry->stop();
        a.pool->stop();
        a.tables->service->stop();
        a.outbox->close();
        a.state.thread.finish();
        a.cache->close();
        a.log->close();
        flush_log();
        a.io.stop();
      },
      asio::detached);
}

}  // namespace fused
