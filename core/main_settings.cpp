#include "main_settings.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "base/duration.hpp"
#include "base/nearest.hpp"
#include "base/result.hpp"

namespace fused {
namespace {

constexpr const char* kIntroduction =
    "Serve Python functions as HTTP endpoints, map tiles and files.\n\n"
    "  fused serve                       start on http://127.0.0.1:8783 with ./data\n"
    "  fused serve functions/ --watch    every .py there with @fused.udf is an endpoint, reloaded on save\n"
    "  fused serve --port 0 --data DIR   a free port (it is printed), another data folder\n\n"
    "Each option can also be set by the environment variable in brackets or in a TOML file (--config); a flag wins "
    "over the\n"
    "variable, the variable over the file. The owner's token lies in DIR/token.";

const CLI::AsSizeValue kSize(false);  // "512MiB", "4G"

const CLI::Validator kHttpAddress(
    [](std::string& text) {
      const std::size_t from = text.starts_with("http://") ? 7 : text.starts_with("https://") ? 8 : 0;
      const std::string_view rest = std::string_view(text).substr(from);
      const bool good = from != 0 && !rest.empty() && !rest.starts_with('/') && !rest.starts_with(':') &&
                        rest.find_first_of(" \t\n?#@") == std::string_view::npos;
      return good ? std::string() : "'" + text + "' is no address like http://127.0.0.1:9000";
    },
    "URL", "address");

// Less than this ends every run before it has begun.
constexpr std::int64_t kMemoryBytesMin = 256LL << 20;
constexpr std::int64_t kStreamBytesMin = 1 << 10;
constexpr std::int64_t kResultBytesMin = 1 << 10;
constexpr std::int64_t kProcessesMin = 8;
constexpr std::int64_t kDescriptorsMin = 64;
constexpr std::int64_t kDiskWrittenBytesMin = 1 << 20;
constexpr std::int64_t kFilesMadeMin = 16;
constexpr std::int64_t kSizeMax = 1LL << 50;

void add_server(CLI::App& app, Settings& s) {
  const char* group = "Server";
  app.add_option("folder", s.serve_folder, "Folder of .py files to serve as functions")
      ->check(CLI::ExistingDirectory)
      ->group(group);
  app.add_flag("--watch", s.watch, "Reload the folder's functions when a file is saved")
      ->envname("FUSED_WATCH")
      ->group(group);
  app.add_option("--host", s.host, "Address to listen on")->envname("FUSED_HOST")->capture_default_str()->group(group);
  app.add_option("--port", s.port, "Port to listen on; 0 picks a free one")
      ->envname("FUSED_PORT")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str()
      ->group(group);
  app.add_option("--data", s.data, "Folder that holds all that the server keeps")
      ->envname("FUSED_DATA")
      ->capture_default_str()
      ->group(group);
  app.add_option("--allow-host", s.allow_hosts,
                 "Further names accepted in the Host header (localhost and IP addresses always are)")
      ->envname("FUSED_ALLOW_HOST")
      ->delimiter(',')
      ->group(group);
  app.add_option("--cors-origin", s.cors_origins,
                 "Origins whose pages may call with a token (share-token URLs answer any)")
      ->envname("FUSED_CORS_ORIGIN")
      ->delimiter(',')
      ->group(group);
  app.add_option("--drain-seconds", s.drain_seconds, "How long running requests may finish after SIGTERM")
      ->envname("FUSED_DRAIN_SECONDS")
      ->check(CLI::Range(0, 3600))
      ->capture_default_str()
      ->group(group);
  app.add_option("--spool-bytes-max", s.spool_bytes_max, "Disk that the large bodies of all requests may take at once")
      ->envname("FUSED_SPOOL_BYTES_MAX")
      ->transform(kSize)
      ->capture_default_str()
      ->group(group);
  app.add_option("--body-bytes-max", s.body_bytes_max, "Largest request body")
      ->envname("FUSED_BODY_BYTES_MAX")
      ->transform(kSize)
      ->capture_default_str()
      ->group(group);
}

void add_workers(CLI::App& app, Settings& s) {
  const char* group = "Workers";
  app.add_option("--workers", s.workers, "Runs at the same time; 0: one per core")
      ->envname("FUSED_WORKERS")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str()
      ->group(group);
  app.add_option("--queue-length", s.queue_length, "Runs that may wait; 0: 48 per worker, at least 96; beyond it 429")
      ->envname("FUSED_QUEUE_LENGTH")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str()
      ->group(group);
  app.add_option("--worker-runs-max", s.worker_runs_max, "A worker is replaced after so many runs")
      ->envname("FUSED_WORKER_RUNS_MAX")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str()
      ->group(group);
  app.add_option("--worker-growth-bytes", s.worker_growth_bytes,
                 "A worker is replaced when its memory has grown by so much")
      ->envname("FUSED_WORKER_GROWTH_BYTES")
      ->transform(kSize)
      ->capture_default_str()
      ->group(group);
  app.add_option("--isolation", s.isolation, "auto: all that this machine allows; none: functions run unconfined")
      ->envname("FUSED_ISOLATION")
      ->check(CLI::IsMember({"auto", "none"}))
      ->capture_default_str()
      ->group(group);
  app.add_flag("--network,!--no-network", s.network, "Functions may open network connections")
      ->envname("FUSED_NETWORK")
      ->capture_default_str()
      ->group(group);
  app.add_option("--recursion-max", s.recursion_max, "How deep functions may call functions")
      ->envname("FUSED_RECURSION_MAX")
      ->check(CLI::Range(1, 20))
      ->capture_default_str()
      ->group(group);
  app.add_option(
         "--s3-endpoint", s.s3_endpoint,
         "Object store (http[s]://host[:port]) that functions reach by s3://: set as AWS_ENDPOINT_URL for them. The "
         "server keeps everything in DIR and sends the history of saves there, with the keys of its own environment "
         "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)")
      ->envname("FUSED_S3_ENDPOINT")
      ->check(kHttpAddress)
      ->group(group);
  app.add_flag(
         "--share-s3-keys", s.share_s3_keys,
         "Every function has those keys (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION) "
         "in its environment; without it functions sign nothing but what they have keys of their own for")
      ->envname("FUSED_SHARE_S3_KEYS")
      ->group(group);
  app.add_option("--python", s.python, "Python interpreter of the workers")->envname("FUSED_PYTHON")->group(group);
}

void add_limits(CLI::App& app, RunLimits& l) {
  const char* group = "Limits of one run (processes that it starts counted in)";
  app.add_option("--limit-wall-ms", l.wall_ms, "Time in milliseconds")
      ->envname("FUSED_LIMIT_WALL_MS")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{86'400'000}))
      ->capture_default_str()
      ->group(group);
  const auto size = [&](const char* name, std::int64_t& value, std::int64_t least, const char* what,
                        const char* variable) {
    const CLI::Validator at_least(
        [name, least](std::string& text) {
          std::int64_t given = 0;
          const bool good = CLI::detail::lexical_cast(text, given) && given >= least && given <= kSizeMax;
          return good ? std::string()
                      : "must be " + std::to_string(least) + " … " + std::to_string(kSizeMax) + ", not " + text;
        },
        ">=" + std::to_string(least), "least");
    app.add_option(name, value, what)
        ->envname(variable)
        ->transform(kSize)
        ->check(at_least)
        ->capture_default_str()
        ->group(group);
  };
  size("--limit-memory-bytes", l.memory_bytes, kMemoryBytesMin, "Memory", "FUSED_LIMIT_MEMORY_BYTES");
  size("--limit-stream-bytes", l.stream_bytes, kStreamBytesMin, "Kept of each of stdout and stderr (head and tail)",
       "FUSED_LIMIT_STREAM_BYTES");
  size("--limit-result-bytes", l.result_bytes, kResultBytesMin, "Encoded result", "FUSED_LIMIT_RESULT_BYTES");
  size("--limit-processes", l.processes, kProcessesMin, "Processes and threads", "FUSED_LIMIT_PROCESSES");
  size("--limit-descriptors", l.descriptors, kDescriptorsMin, "Open descriptors of a process",
       "FUSED_LIMIT_DESCRIPTORS");
  size("--limit-disk-written-bytes", l.disk_written_bytes, kDiskWrittenBytesMin,
       "Bytes written to disk (scratch and /mount), and held in scratch", "FUSED_LIMIT_DISK_WRITTEN_BYTES");
  size("--limit-files-made", l.files_made, kFilesMadeMin, "Files in scratch at one time", "FUSED_LIMIT_FILES_MADE");
}

void add_jobs(CLI::App& app, Settings& s) {
  const char* group = "Jobs";
  app.add_option("--job-cores", s.job_cores, "Tasks of jobs at the same time, beside --workers; 0: one per core")
      ->envname("FUSED_JOB_CORES")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str()
      ->group(group);
  app.add_option("--job-memory-bytes", s.job_memory_bytes,
                 "Memory that the tasks of all jobs may take together; 0: half of the machine's")
      ->envname("FUSED_JOB_MEMORY_BYTES")
      ->transform(kSize)
      ->capture_default_str()
      ->group(group);
  app.add_option("--job-lease-ms", s.job_lease_ms,
                 "A task whose process gives no sign of life for so long is given up and started again")
      ->envname("FUSED_JOB_LEASE_MS")
      ->check(CLI::Range(500, 86'400'000))
      ->capture_default_str()
      ->group(group);
  app.add_option("--jobs", s.jobs,
                 "Where tasks run: local, on this machine; ray, on the nodes of a Ray cluster (docs/guides/scale-out)")
      ->envname("FUSED_JOBS")
      ->check(CLI::IsMember({"local", "ray"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--ray-address", s.ray_address,
                 "The cluster's dashboard, http://HEAD:8265, with --jobs ray. Its token is taken from RAY_AUTH_TOKEN, "
                 "or the file that RAY_AUTH_TOKEN_PATH names")
      ->envname("FUSED_RAY_ADDRESS")
      ->check(kHttpAddress)
      ->group(group);
  app.add_option("--ray-server-url", s.ray_server_url,
                 "This server as the cluster's nodes reach it; default: http://HOST:PORT")
      ->envname("FUSED_RAY_SERVER_URL")
      ->check(kHttpAddress)
      ->group(group);
  app.add_option("--ray-mount", s.ray_mount,
                 "Folder of each node that is /mount for functions there, as a shared file system; default: an empty "
                 "folder of each node")
      ->envname("FUSED_RAY_MOUNT")
      ->type_name("DIR")
      ->group(group);
  app.add_option("--smtp-url", s.smtp_url,
                 "Mail server that tells of the ends of jobs: smtp://[USER:PASSWORD@]HOST[:PORT] (STARTTLS where it is "
                 "offered) or smtps://; with a password better in the environment or the file")
      ->envname("FUSED_SMTP_URL")
      ->type_name("URL")
      ->group(group);
  app.add_option("--smtp-from", s.smtp_from, "Who writes that mail; default: fused@ and this machine's name")
      ->envname("FUSED_SMTP_FROM")
      ->type_name("MAILBOX")
      ->group(group);
  app.add_flag("--strict-instances", s.strict_instances,
               "Refuse a job whose instance type has more than this machine; without it the job gets what there is")
      ->envname("FUSED_STRICT_INSTANCES")
      ->group(group);
}

void add_cache(CLI::App& app, Settings& s) {
  const char* group = "Result cache";
  app.add_option_function<std::string>(
         "--cache-max-age",
         [&s](const std::string& text) {
           const auto seconds = parse_duration(text);
           if (!seconds) throw CLI::ValidationError("--cache-max-age", seconds.error().message);
           s.cache_max_age_seconds = seconds->count();
         },
         "Age up to which results are answered again, where neither the call nor the function says one; 0s: not at all")
      ->envname("FUSED_CACHE_MAX_AGE")
      ->type_name("DURATION")
      ->default_str("90d")
      ->group(group);
  app.add_option("--cache-bytes-max", s.cache_bytes_max, "Disk that results may take (DIR/cache)")
      ->envname("FUSED_CACHE_BYTES_MAX")
      ->transform(kSize)
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  app.add_option("--cache-memory-bytes", s.cache_memory_bytes, "Memory that results may take")
      ->envname("FUSED_CACHE_MEMORY_BYTES")
      ->transform(kSize)
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
}

void add_logs(CLI::App& app, Settings& s) {
  const char* group = "Logs";
  app.add_option("--log-format", s.log_format, "Of the server's own lines")
      ->envname("FUSED_LOG_FORMAT")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--log-level", s.log_level, "Least level that is shown")
      ->envname("FUSED_LOG_LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--log-retention-days", s.log_retention_days, "Run folders are kept so long")
      ->envname("FUSED_LOG_RETENTION_DAYS")
      ->check(CLI::Range(1, 36'500))
      ->capture_default_str()
      ->group(group);
  app.add_option("--log-disk-share", s.log_disk_share, "Share of the disk (bytes or inodes) that run folders may take")
      ->envname("FUSED_LOG_DISK_SHARE")
      ->check(CLI::Range(0.0001, 0.9))
      ->capture_default_str()
      ->group(group);
}

std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const auto& list : {option->get_lnames(), option->get_fnames()})
      for (const std::string& name : list) names.push_back(name.substr(0, name.find('{')));
  return names;
}

std::string unknown(std::string_view what, std::string_view name, const std::string& near, std::string_view dashes) {
  std::string said = "there is no " + std::string(what) + " '" + std::string(name) + "'";
  if (!near.empty()) said += "; did you mean '" + std::string(dashes) + near + "'?";
  return said + " (fused serve --help lists all)";
}

// A flag that does not exist would leave its value to be taken for the folder; so flags are looked at first.
Status check_flags(const CLI::App& app, int argc, char** argv) {
  const auto names = names_of(app);
  for (int i = 1; i < argc && std::string_view(argv[i]) != "--"; ++i) {
    const std::string_view word = argv[i];
    if (!word.starts_with("--")) continue;
    const std::string name(word.substr(2, word.find('=') == word.npos ? word.npos : word.find('=') - 2));
    if (app.get_option_no_throw("--" + name) == nullptr)
      return fail(ErrorKind::invalid_argument, unknown("option", "--" + name, nearest(name, names), "--"));
  }
  return {};
}

// Names of the file that are no settings; the library would only say that it could not read them.
Status check_file(const CLI::App& app) {
  const CLI::Option* config = app.get_config_ptr();
  if (!config || config->count() == 0) return {};
  const auto file = config->as<std::string>();
  const auto names = names_of(app);
  try {
    for (const CLI::ConfigItem& item : app.get_config_formatter()->from_file(file))
      if (app.get_option_no_throw("--" + item.fullname()) == nullptr && item.name != "++" &&
          item.name != "--")  // those begin and end a section
        return fail(ErrorKind::invalid_argument,
                    file + ": " + unknown("setting", item.fullname(), nearest(item.fullname(), names), ""));
  } catch (const CLI::Error& error) {
    return fail(ErrorKind::invalid_argument, file + " cannot be read: " + error.what());
  }
  return {};
}

// The interpreter of the environment that this program is installed in: <prefix>/lib/python3.x/site-packages/fused/bin.
std::string default_python() {
  std::error_code error;
  auto at = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (; at.has_relative_path(); at = at.parent_path())
    for (const char* name : {"bin/python3", ".venv/bin/python3"})
      if (::access((at / name).c_str(), X_OK) == 0 &&
          std::filesystem::exists((at / name).parent_path().parent_path() / "pyvenv.cfg", error))
        return at / name;
  return "/usr/bin/python3";
}

Status check_jobs(const Settings& s) {
  if (s.jobs != "ray") {
    if (s.ray_address.empty() && s.ray_server_url.empty() && s.ray_mount.empty()) return {};
    return fail(ErrorKind::invalid_argument, "--ray-address, --ray-server-url and --ray-mount need --jobs ray");
  }
  if (s.ray_address.empty())
    return fail(ErrorKind::invalid_argument,
                "--jobs ray needs --ray-address http://HEAD:8265, the cluster's dashboard");
  if (s.ray_server_url.empty() && (s.host == "0.0.0.0" || s.host == "::"))
    return fail(ErrorKind::invalid_argument, "--jobs ray with --host " + s.host +
                                                 " needs --ray-server-url http://NAME:PORT: how the cluster's nodes "
                                                 "reach this server");
  if (!s.ray_mount.empty() && !s.ray_mount.starts_with('/'))
    return fail(ErrorKind::invalid_argument, "--ray-mount '" + s.ray_mount + "' is no absolute path");
  return {};
}

Status complete(Settings& s) {
  FUSED_CHECK(check_jobs(s));
  if (s.watch && s.serve_folder.empty())
    return fail(ErrorKind::invalid_argument, "--watch needs a folder: fused serve FOLDER --watch");
  const int cores = std::max(1u, std::thread::hardware_concurrency());
  if (s.workers == 0) s.workers = cores;
  if (s.queue_length == 0) s.queue_length = std::max(96, 48 * s.workers);
  if (s.python.empty()) s.python = default_python();
  if (::access(s.python.c_str(), X_OK) != 0)
    return fail(ErrorKind::invalid_argument,
                "--python '" + s.python + "' is not a program; name the interpreter that has fused installed");
  return {};
}

}  // namespace

std::variant<Command, int> read_command(int argc, char** argv) {
  Command command;
  CLI::App app(kIntroduction, "fused serve");
  app.set_version_flag("--version", std::string("fused-server ") + FUSED_VERSION);
  app.set_config("--config", "", "TOML file with settings, e.g.  port = 9000")->envname("FUSED_CONFIG");
  app.allow_config_extras(false);
  app.add_flag("--print-routes", command.print_routes, "Print the list of routes and end")->group("");
  add_server(app, command.settings);
  add_workers(app, command.settings);
  add_limits(app, command.settings.limits);
  add_jobs(app, command.settings);
  add_cache(app, command.settings);
  add_logs(app, command.settings);
  const auto refuse = [](const Error& error) {
    std::cerr << "fused serve: " << error.message << "\n";
    return 2;
  };
  if (const auto good = check_flags(app, argc, argv); !good) return refuse(good.error());
  try {
    app.parse(argc, argv);
  } catch (const CLI::ConfigError& error) {
    if (const auto good = check_file(app); !good) return refuse(good.error());
    return refuse({ErrorKind::invalid_argument, error.what(), {}});
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    return refuse({ErrorKind::invalid_argument, std::string(error.what()) + " (fused serve --help lists all)", {}});
  }
  if (const auto done = complete(command.settings); !done) return refuse(done.error());
  return command;
}

}  // namespace fused
