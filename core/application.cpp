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

Result<std::unique_ptr<Application>> Application::start(asio::io_context& io, const Settings& settings) {
  auto all = std::make_unique<Everything>(io, settings);
  Everything& a = *all;
  const auto begin = std::chrono::steady_clock::now();

  // What is kept.
  FUSED_CHECK(a.state.open(settings, a.clock));
  RunLogOptions log_options{.mount = a.state.data->mount(), .journal = a.state.data->journal()};
  log_options.retention.days = settings.log_retention_days;
  log_options.retention.disk_share = settings.log_disk_share;
  a.log = FUSED_TRY(RunLog::open(std::move(log_options), a.clock));

  a.outbox =
      std::make_unique<HistoryOutbox>(outbox_options(settings, *a.state.data), [&a](std::vector<std::string> paths) {
        a.state.thread.post([&a, paths = std::move(paths)] {
          if (const Status noted = a.state.functions().history_sent(paths); !noted)
            spdlog::warn("sent history files are sent once more at the next start: {}", noted.error().message);
        });
      });
  if (!settings.s3_endpoint.empty()) a.outbox->add(FUSED_TRY(a.state.functions().unsent_history()));
  a.state.functions().set_saved([&a](const std::string& path) { a.outbox->add({path}); });

  a.ray = FUSED_TRY(RayJobs::open(io, a.state, a.settings, pool_options(settings, *a.state.data)));

  // What runs. The pool starts before the port is bound, so that workers come up meanwhile.
  a.pool = std::make_unique<Pool>(io, pool_options(settings, *a.state.data));
  FUSED_CHECK(a.pool->start());
  a.runs =
      std::make_unique<RunService>(io, *a.pool, *a.log, a.state.run_tokens,
                                   RunServiceOptions{.recursion_max = settings.recursion_max,
                                                     .worker_growth_bytes = settings.worker_growth_bytes,
                                                     .cache_secrets = FUSED_TRY(CacheSecrets::open(*a.state.data))});
  a.runs->set_remote(a.ray->workers.get());
  a.cache = ResultCache::open(io, cache_options(settings, *a.state.data), a.clock);
  a.environment.emplace(environment_of(settings, a.clock));
  a.runs->set_environment([environment = &*a.environment] { return environment->current().hex(); });
  a.cached = std::make_unique<CachedRuns>(io, *a.runs, *a.pool, *a.cache, *a.environment, use_check(a.state),
                                          CachedRunsOptions{settings.cache_max_age_seconds});
  a.cache_parts = {a.cached.get(), &a.state.functions()};
  a.registry = std::make_unique<RunRegistry>(io, *a.runs);
  a.run_parts = {.web = web_folder(),
                 .registry = a.registry.get(),
                 .runs = a.runs.get(),
                 .cached = a.cached.get(),
                 .functions = function_finder(a.state),
                 .limits = settings.limits};

  a.batches =
      std::make_unique<BatchService>(io, *a.runs, a.cached.get(), *a.log, batch_options(settings, *a.state.data));
  a.batch_parts = {a.batches.get(), &a.run_parts};

  // Who answers.
  a.parts.settings = &a.settings;
  a.parts.clock = &a.clock;
  a.parts.version = FUSED_VERSION;
  a.parts.spool_folder = a.state.data->path();
  a.parts.run = &a.run_parts;
  a.parts.cache = &a.cache_parts;
  a.parts.batches = &a.batch_parts;
  a.parts.metrics = &a.metrics;
  a.state_parts = {.functions = &a.state.functions(),
                   .shares = &*a.state.shares,
                   .people = &*a.state.people,
                   .thread = &a.state.thread,
                   .clock = &a.clock};
  a.parts.state = &a.state_parts;
  a.tables = FUSED_TRY(Tables::open(io, a.state, settings, pool_options(settings, *a.state.data), a.clock));
  a.parts.tables = &a.tables->parts;
  a.parts.sessions = &a.sessions;
  a.jobs = FUSED_TRY(Jobs::open(io, a.state, settings, *a.runs, *a.ray, *a.outbox, a.clock));
  a.parts.jobs = &a.jobs->parts;
  a.run_parts.jobs = a.jobs->service.get();
  a.schedules = FUSED_TRY(Schedules::open(io, a.state, *a.jobs->service, a.clock));
  a.parts.schedules = &a.schedules->parts;
  a.parts.attempts = &a.ray->parts;
  a.hooks = std::make_unique<Hooks>(io, a.state, *a.jobs->service, a.jobs->parts, settings, a.clock);
  fill_state_parts(a.parts, a.state);
  a.parts.figures = [&a] {
    ServerFigures figures = figures_of(a.state, *a.pool, *a.runs, *a.log);
    figures.cache = a.cache->figures();
    figures.history = a.outbox->figures();
    figures.tables = a.tables->service->figures();
    figures.jobs = a.jobs->service->figures();
    figures.batches = a.batches->figures();
    return figures;
  };
  a.parts.health = [&a] {
    const ServerFigures figures = a.parts.figures();
    boost::json::object health = health_of(figures);
    health["jobs"] = health_of(figures.jobs);
    if (a.ray->is_on()) health["ray"] = a.ray->health();
    return health;
  };
  a.dispatcher = std::make_unique<Dispatcher>(a.parts, all_routes(a.parts));
  a.runs->set_nested_handler(a.cached->noting(nested_handler(*a.dispatcher)));
  a.server = std::make_unique<Server>(io, *a.dispatcher);
  a.port = FUSED_TRY(a.server->listen(settings.host, settings.port));
  const std::string base_url =
      "http://" + (settings.host.find(':') == std::string::npos ? settings.host : '[' + settings.host + ']') + ':' +
      std::to_string(a.port);
  a.runs->set_base_url(base_url);
  a.ray->serve(base_url);

  if (!settings.serve_folder.empty()) {
    const FunctionOwner owner = owner_of(a.state);
    ServedFolder::Describe describe = [&a, key = worker_key(owner.organisation, owner.id)](std::string header) {
      return a.pool->describe(std::move(header), key);
    };
    a.folder =
        std::make_unique<ServedFolder>(io, settings.serve_folder, a.state.functions(), owner, std::move(describe));
    FUSED_CHECK(a.folder->load());
    if (settings.watch) FUSED_CHECK(a.folder->watch());
  }
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
  return std::unique_ptr<Application>(new Application(std::move(all)));
}

void Application::begin_stop() {
  Everything& a = *all_;
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
