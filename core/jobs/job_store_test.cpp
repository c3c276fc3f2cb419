// The store on SQLite, by itself and under a scheduler that is killed.
#include "jobs/job_store.hpp"

#include <gtest/gtest.h>

#include <random>

#include "jobs/job_options.hpp"
#include "jobs/memory_job_store.hpp"
#include "jobs/scheduler.hpp"
#include "storage/failing_sync.hpp"
#include "storage/migrations.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

struct JobStoreTest : testing::Test {
  TestFolder folder;
  WriteGate gate;
  std::optional<Database> database;
  std::optional<SqliteJobStore> store;

  void SetUp() override { reopen(); }
  void TearDown() override { let_syncs_pass(); }
  void reopen() {
    store.reset();
    database.reset();
    database.emplace(*Database::open(folder / "state.db", gate));
    const Status status = migrate(*database);
    ASSERT_TRUE(status) << status.error().message;
    store.emplace(*database);
  }
  static JobSpec job(const std::string& id, std::int64_t tasks = 1) {
    JobSpec spec;
    spec.id = id;
    spec.organisation = "default";
    spec.user_id = "ann";
    spec.name = "name of " + id;
    spec.instance_type = "m5.large";
    spec.priority = -3;
    spec.steps = {StepPlan{tasks, 2, true}, StepPlan{1, 0, false}};
    spec.task_share = {1, std::int64_t{6} << 30};
    spec.parallel_max = 4;
    spec.retries = {3, 5};
    spec.run_max = std::chrono::hours(1'000);
    spec.config_path = "s3/x/file.json";
    spec.options_json = R"({"region":"eu"})";
    spec.submitted_at = WallTime(std::chrono::milliseconds(1'800'000'000'123));
    return spec;
  }
  static AttemptStart start(AttemptId id, const std::string& job_id, std::int64_t task = 0, int attempt = 1) {
    AttemptStart start;
    start.id = id;
    start.job_id = job_id;
    start.task = task;
    start.attempt = attempt;
    return start;
  }
  static AttemptRecord record(AttemptId id, const std::string& job_id, TaskState state, std::int64_t task = 0) {
    AttemptRecord record;
    record.id = id;
    record.job_id = job_id;
    record.task = task;
    record.task_state = state;
    record.end = state == TaskState::done ? AttemptEnd::done : AttemptEnd::failed;
    record.result_path = "results/" + std::to_string(id);
    return record;
  }
};

TEST_F(JobStoreTest, a_job_comes_back_as_it_was_submitted) {
  const JobSpec spec = job("j", 7);
  ASSERT_TRUE(store->add(spec));
  reopen();
  const auto found = *store->find("j");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->state, JobState::pending);
  EXPECT_EQ(found->total_tasks, 8);
  EXPECT_EQ(found->spec.name, spec.name);
  EXPECT_EQ(found->spec.priority, -3);
  EXPECT_EQ(found->spec.submitted_at, spec.submitted_at);
  EXPECT_EQ(found->spec.options_json, spec.options_json);
  EXPECT_EQ(found->spec.config_path, spec.config_path);
  ASSERT_EQ(found->spec.steps.size(), 2u);
  EXPECT_EQ(found->spec.steps[0].tasks, 7);
  EXPECT_EQ(found->spec.steps[0].parallel_max, 2);
  EXPECT_TRUE(found->spec.steps[0].ignore_chunk_error);
  EXPECT_EQ(found->spec.task_share.memory_bytes, spec.task_share.memory_bytes);
  EXPECT_EQ(found->spec.retries.platform_max, 5);
  EXPECT_EQ(found->spec.run_max, spec.run_max);
  EXPECT_FALSE(found->started_at);
  EXPECT_FALSE(*store->find("nobody"));
  EXPECT_FALSE(store->add(spec)) << "an id is given once";
}

TEST_F(JobStoreTest, only_the_attempt_that_holds_the_task_is_recorded_and_only_once) {
  ASSERT_TRUE(store->add(job("j")));
  ASSERT_TRUE(store->start({start(1, "j")}));
  EXPECT_EQ(*store->record(record(1, "j", TaskState::pending)), true);
  ASSERT_TRUE(store->start({start(2, "j", 0, 2)}));
  EXPECT_EQ(*store->record(record(1, "j", TaskState::done)), false);
  EXPECT_EQ(*store->record(record(2, "j", TaskState::done)), true);
  EXPECT_EQ(*store->record(record(2, "j", TaskState::done)), false);
  const auto tasks = *store->tasks("j");
  ASSERT_EQ(tasks.size(), 1u);
  EXPECT_EQ(tasks[0].result_path, "results/2");
  EXPECT_EQ(tasks[0].attempts, 2);
  EXPECT_EQ((*store->find("j"))->finished_tasks, 1);
  const auto attempts = *store->attempts("j");
  ASSERT_EQ(attempts.size(), 2u);
  EXPECT_EQ(attempts[0].end, AttemptEnd::failed);
  EXPECT_EQ(attempts[1].end, AttemptEnd::done);
}

TEST_F(JobStoreTest, an_end_is_final) {
  ASSERT_TRUE(store->add(job("j")));
  ASSERT_TRUE(store->start({start(1, "j")}));
  EXPECT_EQ(*store->end_job("j", JobState::canceled, "", WallTime{}), true);
  EXPECT_EQ(*store->end_job("j", JobState::failed, "", WallTime{}), false);
  EXPECT_EQ(*store->record(record(1, "j", TaskState::done)), false);
  EXPECT_EQ(store->start({start(2, "j", 0, 2)}).error().kind, ErrorKind::conflict);
  EXPECT_EQ((*store->find("j"))->state, JobState::canceled);
  EXPECT_EQ((*store->attempts("j")).at(0).end, AttemptEnd::canceled);
  EXPECT_EQ(*store->end_job("nobody", JobState::failed, "", WallTime{}), false);
  EXPECT_TRUE((*store->begin_epoch()).jobs.empty());
}

TEST_F(JobStoreTest, a_new_life_fences_attempts_and_names_processes_that_may_be_left) {
  ASSERT_TRUE(store->add(job("a", 3)));
  ASSERT_TRUE(store->add(job("b")));
  ASSERT_TRUE(store->add(job("c")));
  ASSERT_TRUE(store->start({start(1, "a", 0), start(2, "a", 1), start(3, "c")}));
  EXPECT_EQ(*store->record(record(1, "a", TaskState::done)), true);
  store->gone(1);
  EXPECT_EQ(*store->end_job("c", JobState::canceled, "", WallTime{}), true);  // its process may be there
  reopen();
  const Recovered found = *store->begin_epoch();
  EXPECT_EQ(found.epoch, 1);
  ASSERT_EQ(found.jobs.size(), 2u);
  EXPECT_EQ(found.jobs[0].spec.id, "a");
  EXPECT_EQ(found.jobs[0].state, JobState::running);
  EXPECT_EQ(found.jobs[0].started_tasks, 2);
  EXPECT_EQ(found.jobs[0].finished_tasks, 1);
  ASSERT_EQ(found.jobs[0].unfinished.size(), 1u);
  EXPECT_EQ(found.jobs[0].unfinished[0].number, 1);
  EXPECT_EQ(found.jobs[0].unfinished[0].attempts, 1);
  EXPECT_EQ(found.jobs[1].state, JobState::pending);
  ASSERT_EQ(found.left_over.size(), 2u);
  EXPECT_EQ(found.left_over[0].id, 2);
  EXPECT_EQ(found.left_over[1].job_id, "c");
  EXPECT_EQ(*store->record(record(2, "a", TaskState::done, 1)), false);
  store->gone(2);
  store->gone(3);
  EXPECT_EQ((*store->begin_epoch()).epoch, 2);
  EXPECT_TRUE((*store->begin_epoch()).left_over.empty());
}

TEST_F(JobStoreTest, a_write_that_fails_changes_nothing) {
  ASSERT_TRUE(store->add(job("j", 2)));
  ASSERT_TRUE(store->add(job("ended")));
  ASSERT_TRUE(*store->end_job("ended", JobState::done, "", WallTime{}));
  EXPECT_FALSE(store->start({start(1, "j"), start(2, "ended")}));
  EXPECT_TRUE((*store->tasks("j")).empty());
  EXPECT_EQ((*store->find("j"))->state, JobState::pending);
  fail_sync_at(1, EIO);
  EXPECT_FALSE(store->add(job("lost")));
  let_syncs_pass();
}

TEST_F(JobStoreTest, says_which_ids_no_job_has) {
  ASSERT_TRUE(store->add(job("a")));
  EXPECT_EQ(*store->without_row({"x", "a", "y"}), (std::vector<std::string>{"x", "y"}));
  EXPECT_TRUE(store->without_row({})->empty());
}

TEST_F(JobStoreTest, parts_are_needed_by_jobs_of_their_user_that_are_not_done) {
  const std::string parts = "/mount/a \"b\"/t.parts-0123456789ab";
  JobOptions options;
  options.parts = parts;
  const auto needed = [&](const std::string& user = "ann") { return *store->needs_parts("default", user, parts); };
  EXPECT_FALSE(needed());
  JobSpec with = job("a");
  with.options_json = options_json(options);
  ASSERT_TRUE(store->add(with));
  ASSERT_TRUE(store->add(job("b")));
  EXPECT_TRUE(needed());
  EXPECT_FALSE(needed("bob"));
  EXPECT_FALSE(*store->needs_parts("default", "ann", parts + "c"));
  ASSERT_TRUE(*store->end_job("a", JobState::failed, "", WallTime()));
  EXPECT_TRUE(needed());
  ASSERT_TRUE(*store->remove("a"));
  EXPECT_FALSE(needed());
}

TEST_F(JobStoreTest, lists_the_newest_first_by_user_and_state) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(store->add(job("j" + std::to_string(i))));
  JobSpec other = job("other");
  other.user_id = "bob";
  ASSERT_TRUE(store->add(other));
  ASSERT_TRUE(*store->end_job("j3", JobState::failed, "why", WallTime{}));
  const auto ids = [&](const JobFilter& filter) {
    std::string text;
    const auto rows = *store->list(filter);
    for (const JobRow& row : rows) text += row.spec.id + " ";
    return text;
  };
  EXPECT_EQ(ids({"default", "", {}, 0, 2}), "other j4 ");
  EXPECT_EQ(ids({"default", "ann", {}, 1, 2}), "j3 j2 ");
  EXPECT_EQ(ids({"default", "", JobState::failed, 0, 9}), "j3 ");
  EXPECT_EQ(ids({"another", "", {}, 0, 9}), "");
  EXPECT_EQ(*store->remove("j3"), true);
  EXPECT_EQ(*store->remove("j4"), false) << "it is open";
  EXPECT_EQ(ids({"default", "", JobState::failed, 0, 9}), "");
}

std::string text_of(const Recovered& found) {
  std::string text = "epoch " + std::to_string(found.epoch);
  for (const OpenJob& job : found.jobs) {
    text += "\n" + job.spec.id + " " + std::string(word(job.state)) + " " + std::to_string(job.started_tasks) + " " +
            std::to_string(job.finished_tasks);
    for (const UnfinishedTask& task : job.unfinished)
      text += " " + std::to_string(task.number) + ":" + std::to_string(task.attempts) + ":" +
              std::to_string(task.function_failures) + ":" + std::to_string(task.platform_failures);
  }
  for (const LeftOver& left : found.left_over) text += "\nleft " + std::to_string(left.id) + " of " + left.job_id;
  return text;
}

// The simulation trusts the store in memory; this says that the one on disk does the same.
TEST_F(JobStoreTest, does_what_the_store_of_the_simulation_does) {
  MemoryJobStore memory;
  std::mt19937_64 random(6);
  const auto pick = [&](int below) { return static_cast<int>(random() % static_cast<std::uint64_t>(below)); };
  const auto row_of = [](const MemoryJobStore::JobRow& job, std::int64_t task) {
    const auto found = job.tasks.find(task);
    return found == job.tasks.end() ? MemoryJobStore::TaskRow{} : found->second;
  };
  AttemptId serial = 0;
  int recorded = 0, fenced = 0, lives = 0;
  for (int i = 0; i < 3'000; ++i) {
    const std::string id = "j" + std::to_string(pick(12) + i / 100 * 6);
    const auto known = memory.jobs.find(id);
    const std::int64_t task = pick(4);
    const int what = pick(100);
    if (known == memory.jobs.end()) {
      ASSERT_TRUE(memory.add(job(id, 3)) && store->add(job(id, 3)));
    } else if (what < 40 && !is_terminal(known->second.state)) {
      const auto row = row_of(known->second, task);
      if (row.attempt != 0 || row.state > TaskState::running) continue;
      AttemptStart next = start(++serial, id, task, row.attempts + 1);
      next.job_begins = known->second.state == JobState::pending;
      ASSERT_TRUE(memory.start({next}) && store->start({next}));
    } else if (what < 85 && serial > 0) {
      std::int64_t place = task;
      AttemptId attempt = 1 + pick(static_cast<int>(serial));
      for (const auto& [number, row] : known->second.tasks)
        if (row.attempt != 0 && pick(4) != 0) place = number, attempt = row.attempt;
      AttemptRecord end = record(attempt, id, pick(2) == 0 ? TaskState::pending : TaskState::done, place);
      end.function_failures = pick(5);
      end.platform_failures = pick(5);
      if (end.task_state == TaskState::done && pick(20) == 0) end.job_state = JobState::done;
      const bool expected = *memory.record(end);
      ASSERT_EQ(*store->record(end), expected) << i;
      ++(expected ? recorded : fenced);
    } else if (what < 88) {
      const bool expected = *memory.end_job(id, JobState::canceled, "", WallTime{});
      ASSERT_EQ(*store->end_job(id, JobState::canceled, "", WallTime{}), expected);
    } else if (what < 98 && serial > 0) {
      const AttemptId attempt = 1 + pick(static_cast<int>(serial));
      memory.gone(attempt);
      store->gone(attempt);
    } else {
      // What is told gone is written with the next transaction: an end before it forgets, which is allowed.
      ASSERT_TRUE(*store->end_job("nobody", JobState::failed, "", WallTime{}) == false);
      reopen();
      ASSERT_EQ(text_of(*store->begin_epoch()), text_of(*memory.begin_epoch())) << i;
      ++lives;
    }
  }
  EXPECT_EQ(memory.broken, std::vector<std::string>());
  EXPECT_GT(recorded, 200);
  EXPECT_GT(fenced, 200);
  EXPECT_GT(lives, 20);
}

struct Started : Launcher {
  std::vector<AttemptId> ids;
  void start(const AttemptStart& attempt, const JobSpec&) override { ids.push_back(attempt.id); }
  void kill(AttemptId) override {}
  void kill_left_over(const LeftOver&) override {}
};

TEST_F(JobStoreTest, a_scheduler_goes_on_with_what_an_earlier_one_left_on_disk) {
  const Clock clock;
  SchedulerRules rules;
  rules.machine = {3, std::int64_t{64} << 30};
  for (int i = 0; i < 20; ++i) {
    JobSpec spec = job("j" + std::to_string(i), 3);
    Started first;
    Scheduler scheduler(rules, clock, *store, first);
    ASSERT_TRUE(scheduler.begin());
    ASSERT_TRUE(scheduler.submit(spec));
    ASSERT_FALSE(first.ids.empty());
    EXPECT_EQ(scheduler.finished(first.ids.front(), {}), Told::recorded);
  }
  reopen();
  Started started;
  Scheduler scheduler(rules, clock, *store, started);
  ASSERT_TRUE(scheduler.begin());
  for (std::size_t ended = 0; ended < started.ids.size(); ++ended) {
    EXPECT_EQ(scheduler.finished(started.ids[ended], {}), Told::recorded);
    scheduler.exited(started.ids[ended]);
  }
  EXPECT_EQ(scheduler.figures().open_jobs, 0u);
  for (int i = 0; i < 20; ++i) {
    const auto row = *store->find("j" + std::to_string(i));
    EXPECT_EQ(row->state, JobState::done) << i;
    EXPECT_EQ(row->finished_tasks, 4) << i;
  }
}

}  // namespace
}  // namespace fused
