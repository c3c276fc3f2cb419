// What the queue of jobs costs by its length: job_queue DIR [jobs_max] [takes]
// For 100 and jobs_max (10^5) pending jobs prints how many a second are taken, recorded as done and submitted anew,
// each step on disk as on the server, and how long a restart takes that finds them. Processes are not started: what is
// measured is the scheduler and its tables. DIR must not exist, lies on the file system to be measured, and is removed.
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <optional>

#include "base/ids.hpp"
#include "jobs/job_store.hpp"
#include "jobs/scheduler.hpp"
#include "storage/migrations.hpp"

namespace {

using namespace fused;
using Steady = std::chrono::steady_clock;

double seconds_since(Steady::time_point begin) { return std::chrono::duration<double>(Steady::now() - begin).count(); }

struct Taken : Launcher {
  std::deque<AttemptId> started;
  void start(const AttemptStart& attempt, const JobSpec&) override { started.push_back(attempt.id); }
  void kill(AttemptId) override {}
  void kill_left_over(const LeftOver&) override {}
};

struct Life {  // of a server
  explicit Life(const std::filesystem::path& file) {
    database.emplace(Database::open(file, gate).value());
    migrate(*database).value();
    store.emplace(*database);
    SchedulerRules rules;
    rules.machine = {2, std::int64_t{8} << 30};
    scheduler.emplace(rules, clock, *store, launcher);
  }
  Clock clock;
  WriteGate gate;
  std::optional<Database> database;
  std::optional<SqliteJobStore> store;
  Taken launcher;
  std::optional<Scheduler> scheduler;
};

JobSpec job(const Clock& clock) {
  JobSpec spec;
  spec.id = new_uuid();
  spec.organisation = "default";
  spec.user_id = "ann";
  spec.name = "cells";
  spec.instance_type = "small";
  spec.steps = {StepPlan{}};
  spec.task_share = {1, std::int64_t{1} << 30};
  spec.parallel_max = 2;
  spec.config_path = "s3/fused-users/default/fused-system/job-configs/2026-11-21/" + spec.id + "/file.json";
  spec.submitted_at = clock.now();
  return spec;
}

void measure(const std::filesystem::path& file, int pending, int takes) {
  {
    Life life(file);
    life.scheduler->begin().value();
    life.store->add(job(life.clock)).value();
    // The others as copies: a hundred thousand submits one by one, each synced, are not what is measured.
    life.database
        ->script("WITH RECURSIVE copy(i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM copy WHERE i < " +
                 std::to_string(pending) +
                 ") INSERT INTO job (id, organisation, user_id, name, instance_type, priority, plan_json, config_path, "
                 "options_json, submitted_ms, total_tasks, state) SELECT 'copy-' || i, organisation, user_id, name, "
                 "instance_type, priority, plan_json, config_path, options_json, submitted_ms, total_tasks, 'pending' "
                 "FROM copy, job WHERE number = 1")
        .value();
  }
  Life life(file);
  const auto begun = Steady::now();
  life.scheduler->begin().value();
  const double restart = seconds_since(begun);
  const auto first = Steady::now();
  for (int i = 0; i < takes; ++i) {
    life.scheduler->tick();
    const AttemptId id = life.launcher.started.front();
    life.launcher.started.pop_front();
    life.scheduler->finished(id, {AttemptEnd::done, "results/0.1.json", ""});
    life.scheduler->exited(id);
    life.scheduler->submit(job(life.clock)).value();
  }
  const double rate = takes / seconds_since(first);
  std::printf("%7d pending  %8.0f taken, done and submitted /s  restart %.2f s\n", pending, rate, restart);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: job_queue DIR [jobs_max] [takes]\n"), 2;
  init_random();
  const std::filesystem::path folder = argv[1];
  if (!std::filesystem::create_directory(folder))
    return std::fprintf(stderr, "%s is there; a folder that is not is needed\n", argv[1]), 2;
  const int most = argc > 2 ? std::atoi(argv[2]) : 100'000, takes = argc > 3 ? std::atoi(argv[3]) : 3'000;
  for (int round = 0; round < 3; ++round)
    for (const int pending : {100, most})
      measure(folder / (std::to_string(round) + "-" + std::to_string(pending) + ".db"), pending, takes);
  std::filesystem::remove_all(folder);
  return 0;
}
