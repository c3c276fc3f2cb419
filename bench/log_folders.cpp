// What the log of runs costs: log_folders DIR [folders] [phase…]; phases: fresh, codes, output, limit, expired.
// Prints for each phase folders a second, CPU of the appending side and of the folder thread in µs a folder, and how
// far the thread was behind at the end. DIR must be on the file system to be measured and is left for the next phase.
#include <sys/resource.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/ids.hpp"
#include "logs/run_log.hpp"

namespace {

using namespace fused;
using Steady = std::chrono::steady_clock;

double seconds_since(Steady::time_point begin) { return std::chrono::duration<double>(Steady::now() - begin).count(); }
double thread_cpu() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

struct Phase {
  std::string name;
  bool own_code = false;  // every run has code of its own
  bool output = false;    // 200 bytes on stdout
  bool at_limit = false;  // every folder is made from an old one
  int started_days_ago = 0;
};

RunRecord record(const Phase& phase, const Clock& clock, int number) {
  static const auto code =
      std::make_shared<const std::string>(std::string(2'000, '#') + "\ndef udf(n: int = 1):\n    return n\n");
  RunRecord run;
  run.request_id = new_uuid();
  run.user_email = "owner@localhost";
  run.udf_name = "cities";
  run.started = clock.now() - std::chrono::hours(24) * phase.started_days_ago;
  run.execution_time_seconds = 0.000123;
  run.outcome = "ok";
  run.parameters_json = R"({"n":3,"tag":"a"})";
  run.entrypoint = "udf";
  run.format = "json";
  run.result_bytes = 42;
  run.peak_memory_bytes = 90 << 20;
  run.code = phase.own_code ? std::make_shared<const std::string>(*code + std::to_string(number)) : code;
  run.code_hash = phase.own_code ? "h" + std::to_string(number) : "h";
  if (phase.output) run.stdout_text = std::string(200, 'x') + "\n";
  return run;
}

int run_phase(const Phase& phase, const std::string& folder, int folders, const Clock& clock) {
  RunLogOptions options;
  options.mount = folder + "/mount";
  options.journal = folder + "/journal";
  options.retention.days = phase.started_days_ago ? 0 : 90;
  if (phase.at_limit) {
    auto before = RunLog::open(options, clock);
    if (!before) return std::fprintf(stderr, "%s\n", before.error().message.c_str()), 1;
    (*before)->wait_until_written(std::chrono::minutes(10));
    options.retention.inodes_max = (*before)->metrics().used.inodes;
  }
  auto opened = RunLog::open(options, clock);
  if (!opened) return std::fprintf(stderr, "%s\n", opened.error().message.c_str()), 1;
  RunLog& log = **opened;
  const auto begin = Steady::now();
  const double cpu_before = thread_cpu();
  double made_up = 0;  // CPU of making the records themselves
  for (int number = 0; number < folders; ++number) {
    const double before = thread_cpu();
    const RunRecord run = record(phase, clock, number);
    made_up += thread_cpu() - before;
    if (auto status = log.append(run); !status) std::fprintf(stderr, "%s\n", status.error().message.c_str());
  }
  const double append_cpu = thread_cpu() - cpu_before - made_up;
  const double append_wall = seconds_since(begin);
  log.wait_until_written(std::chrono::minutes(10));
  const double wall = seconds_since(begin);
  const auto metrics = log.metrics();
  std::printf(
      "%-10s %8d folders  %8.0f /s  append %5.1f us CPU (%.2f s, %llu waits)  folder %6.1f us CPU  recycled %llu  "
      "errors %llu\n",
      phase.name.c_str(), folders, folders / wall, append_cpu * 1e6 / folders, append_wall,
      static_cast<unsigned long long>(metrics.waits), metrics.folder_cpu_seconds * 1e6 / folders,
      static_cast<unsigned long long>(metrics.folders_recycled), static_cast<unsigned long long>(metrics.errors));
  std::fflush(stdout);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2)
    return std::fprintf(stderr, "usage: log_folders DIR [folders] [fresh|codes|output|limit|expired …]\n"), 2;
  init_random();
  const int folders = argc > 2 ? std::atoi(argv[2]) : 10'000;
  std::vector<std::string> wanted(argv + std::min(argc, 3), argv + argc);
  if (wanted.empty()) wanted = {"fresh", "codes", "output", "limit"};
  const std::vector<Phase> known = {{"fresh"},
                                    {"codes", true},
                                    {"output", false, true},
                                    {"limit", false, false, true},
                                    {"old", false, false, false, 200},
                                    {"expired"}};
  const Clock clock;
  for (const auto& name : wanted)
    for (const auto& phase : known)
      if (phase.name == name && run_phase(phase, argv[1], folders, clock) != 0) return 1;
  return 0;
}
