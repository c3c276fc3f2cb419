// Schedules over a real store, with a clock and jobs that the test moves, and restarts between any two steps.
#include "jobs/schedule_service.hpp"

#include <gtest/gtest.h>

#include "base/ids.hpp"
#include "storage/failing_sync.hpp"
#include "storage/migrations.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

struct MovedClock : Clock {
  WallTime wall{seconds(1'800'000'000)};  // 2027-01-15T08:00:00Z
  SteadyTime steady_time{};
  WallTime now() const override { return wall; }
  SteadyTime steady() const override { return steady_time; }
  void pass(std::chrono::nanoseconds time) {
    wall += std::chrono::duration_cast<WallTime::duration>(time);
    steady_time += time;
  }
};

struct SchedulesTest : testing::Test {
  TestFolder folder;
  std::optional<WriteGate> gate;
  MovedClock clock;
  std::optional<Database> database;
  std::optional<ScheduleStore> store;
  std::optional<ScheduleService> service;
  std::vector<ScheduledJob> jobs;
  std::vector<std::string> canceled;
  std::vector<ScheduledJob> asked;
  Status answer;  // to a submit

  void SetUp() override {
    init_random();
    reopen();
  }
  void reopen() {
    service.reset();
    store.reset();
    database.reset();
    gate.emplace();  // closed by a failure until the next life
    database.emplace(*Database::open(folder / "state.db", *gate));
    ASSERT_TRUE(migrate(*database));
    store.emplace(*database);
    asked.clear();
    service.emplace(*store, clock,
                    ScheduleHands{[this](const ScheduledJob& job) { asked.push_back(job); },
                                  [this](const std::string& id) {
                                    canceled.push_back(id);
                                    set_job(id, "canceled");
                                  }});
    ASSERT_TRUE(service->begin());
  }
  void set_job(const std::string& id, const std::string& state) {
    ASSERT_TRUE(database->run(
        "INSERT INTO job (id, organisation, user_id, name, instance_type, priority, plan_json, config_path, "
        "options_json, state, submitted_ms, total_tasks) VALUES (?,'o','u','n','small',0,'{}','','{}',?,0,1) "
        "ON CONFLICT (id) DO UPDATE SET state=excluded.state",
        {id, state}));
  }
  Schedule add(const std::string& cron, Overlap overlap = Overlap::skip, CatchUp catch_up = CatchUp::last) {
    Schedule schedule;
    schedule.organisation = "default";
    schedule.user_id = "ann";
    schedule.function_id = "f";
    schedule.name = "nightly";
    schedule.cron = cron;
    schedule.overlap = overlap;
    schedule.catch_up = catch_up;
    schedule.on_failure = "alarm";
    return *service->add(schedule);
  }
  void answer_asked() {
    for (const ScheduledJob& job : std::exchange(asked, {})) take(job);
  }
  void take(const ScheduledJob& job) {
    Status taken = answer;
    if (taken && *store->job(job.job_id)) taken = fail(ErrorKind::conflict, "the id is taken");
    if (taken) {
      set_job(job.job_id, "running");
      jobs.push_back(job);
    }
    service->answered(job, taken);
  }
  void tick() {
    service->tick();
    answer_asked();
  }
  // Second by second, as the server does it.
  void live(seconds time) {
    for (seconds passed{0}; passed < time; passed += seconds(1)) {
      clock.pass(seconds(1));
      tick();
    }
  }
  std::vector<ScheduleStore::Shown> runs(const Schedule& schedule) { return *service->runs(schedule.id, 100); }
};

TEST_F(SchedulesTest, every_minute_is_every_minute_once) {
  const auto schedule = add("* * * * *", Overlap::cancel_running);
  live(minutes(5));
  EXPECT_EQ(jobs.size(), 5U);
  EXPECT_EQ(runs(schedule).size(), 5U);
  EXPECT_EQ(service->find(schedule.id)->due, clock.now() + minutes(1));
}

TEST_F(SchedulesTest, an_id_is_shown_when_its_job_is_there) {
  const auto schedule = add("* * * * *");
  clock.pass(minutes(1));
  service->tick();  // the row is written, and nobody has made the job yet
  ASSERT_EQ(asked.size(), 1U);
  const std::string id = asked.front().job_id;
  EXPECT_EQ(runs(schedule).front().run.job_id, "");
  EXPECT_EQ(runs(schedule).front().run.phase, RunPhase::open);
  reopen();
  service->tick();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked.front().job_id, id);  // although it is not shown
  answer_asked();
  EXPECT_EQ(runs(schedule).front().run.job_id, id);
  set_job(id, "failed");
  clock.pass(seconds(1));
  service->tick();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(runs(schedule).front().run.failure_job_id, "");
  const std::string told = asked.front().job_id;
  answer_asked();
  EXPECT_EQ(runs(schedule).front().run.failure_job_id, told);
  ASSERT_TRUE(database->run("DELETE FROM job WHERE id=?", {id}));
  EXPECT_EQ(runs(schedule).front().run.job_id, id);  // it was there
}

TEST_F(SchedulesTest, one_whose_time_zone_is_gone_is_shown_rests_and_can_be_mended_or_removed) {
  const auto schedule = add("* * * * *");
  ASSERT_TRUE(database->run("UPDATE schedule SET time_zone='Atlantis/Capital' WHERE id=?", {schedule.id}));
  reopen();
  ASSERT_TRUE(service->find(schedule.id));
  EXPECT_FALSE(service->find(schedule.id)->due);
  EXPECT_TRUE(service->next_times(*service->find(schedule.id), 3).empty());
  live(minutes(3));
  EXPECT_TRUE(jobs.empty());
  const auto by_hand = service->run_now(schedule.id);
  ASSERT_TRUE(by_hand);
  take(*by_hand);
  set_job(by_hand->job_id, "done");
  ASSERT_TRUE(service->change(schedule.id, [](Schedule& changed) -> Status {
    changed.time_zone = "UTC";
    return {};
  }));
  live(minutes(2));
  EXPECT_GT(jobs.size(), 1U);
  EXPECT_TRUE(service->remove(schedule.id));
}

TEST_F(SchedulesTest, restarts_between_all_steps_neither_lose_nor_double_a_time) {
  const auto schedule = add("* * * * *", Overlap::queue);
  for (int i = 0; i < 600; ++i) {
    clock.pass(seconds(1));
    tick();
    if (i % 7 == 0) reopen();
    if (!jobs.empty() && i % 5 == 0) set_job(jobs.back().job_id, "done");
  }
  std::set<std::string> ids;
  for (const auto& job : jobs) ids.insert(job.job_id);
  EXPECT_EQ(ids.size(), jobs.size());
  EXPECT_EQ(jobs.size(), 10U);
  EXPECT_EQ(runs(schedule).size(), 10U);
}

TEST_F(SchedulesTest, a_job_that_was_chosen_but_not_submitted_before_a_kill_is_submitted_once_after_it) {
  const auto schedule = add("* * * * *");
  answer = fail(ErrorKind::unavailable, "the queue is full");
  live(minutes(1));
  EXPECT_TRUE(jobs.empty());
  ASSERT_EQ(runs(schedule).size(), 1U);
  const std::string chosen = store->unsettled()->front().job_id;
  answer = {};
  reopen();
  tick();
  ASSERT_EQ(jobs.size(), 1U);
  EXPECT_EQ(jobs.front().job_id, chosen);
  reopen();
  tick();
  EXPECT_EQ(jobs.size(), 1U);
}

TEST_F(SchedulesTest, a_kill_before_the_answer_submits_the_same_job_again) {
  add("* * * * *");
  clock.pass(minutes(1));
  service->tick();
  ASSERT_EQ(asked.size(), 1U);
  const std::string chosen = asked.front().job_id;
  service->tick();
  EXPECT_EQ(asked.size(), 1U) << "while the answer is on its way nobody asks twice";
  reopen();
  service->tick();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked.front().job_id, chosen);
}

TEST_F(SchedulesTest, a_clock_set_back_repeats_nothing_and_is_followed) {
  const auto schedule = add("0 * * * *", Overlap::cancel_running);
  live(hours(3));
  EXPECT_EQ(jobs.size(), 3U);
  clock.wall -= hours(2);
  live(hours(4));
  EXPECT_EQ(jobs.size(), 5U);  // two hours were had already
  // Far ahead and back: no year without runs.
  clock.wall += hours(24 * 365);
  live(seconds(2));
  EXPECT_EQ(jobs.size(), 6U);  // the last missed one
  clock.wall -= hours(24 * 365);
  live(hours(2));
  EXPECT_EQ(jobs.size(), 8U);
  clock.wall += hours(24 * 365);
  tick();
  clock.wall -= hours(24 * 365);
  reopen();  // it went back while nobody looked
  live(hours(2));
  EXPECT_EQ(jobs.size(), 11U);
  EXPECT_EQ(runs(schedule).size(), 13U) << "and twice a row of what was missed";
}

TEST_F(SchedulesTest, overlap_skip_leaves_out_and_says_which_job_was_open) {
  const auto schedule = add("* * * * *", Overlap::skip);
  live(minutes(3));
  ASSERT_EQ(jobs.size(), 1U);
  EXPECT_NE(runs(schedule).front().run.note.find(jobs.front().job_id), std::string::npos);
  set_job(jobs.front().job_id, "done");
  live(minutes(1));
  EXPECT_EQ(jobs.size(), 2U);
}

TEST_F(SchedulesTest, overlap_queue_runs_one_after_the_other) {
  add("* * * * *", Overlap::queue);
  live(minutes(3));
  EXPECT_EQ(jobs.size(), 1U);
  set_job(jobs.back().job_id, "done");
  live(seconds(1));
  EXPECT_EQ(jobs.size(), 2U);
  live(seconds(5));
  EXPECT_EQ(jobs.size(), 2U);
  set_job(jobs.back().job_id, "canceled");
  live(seconds(1));
  EXPECT_EQ(jobs.size(), 3U);
}

TEST_F(SchedulesTest, overlap_cancel_ends_the_one_before) {
  add("* * * * *", Overlap::cancel_running);
  live(minutes(2));
  ASSERT_EQ(jobs.size(), 2U);
  EXPECT_EQ(canceled, std::vector{jobs.front().job_id});
}

TEST_F(SchedulesTest, all_missed_times_are_run_one_after_the_other) {
  add("0 * * * *", Overlap::skip, CatchUp::all);
  service.reset();
  clock.pass(hours(4));
  reopen();
  for (int i = 0; i < 10; ++i) {
    tick();
    EXPECT_LE(jobs.size(), static_cast<std::size_t>(i) + 1);
    if (!jobs.empty()) set_job(jobs.back().job_id, "done");
    clock.pass(seconds(1));
  }
  EXPECT_EQ(jobs.size(), 4U);
}

TEST_F(SchedulesTest, a_failure_runs_the_function_for_it_once_also_over_a_restart) {
  add("* * * * *");
  live(minutes(1));
  set_job(jobs.back().job_id, "failed");
  answer = fail(ErrorKind::storage_full, "the disk is full");
  live(seconds(1));
  answer = {};
  reopen();
  tick();
  ASSERT_EQ(jobs.size(), 2U);
  EXPECT_EQ(jobs.back().function_id, "alarm");
  EXPECT_NE(jobs.back().arguments_json.find(jobs.front().job_id), std::string::npos);
  reopen();
  live(seconds(10));
  EXPECT_EQ(jobs.size(), 2U);
}

TEST_F(SchedulesTest, a_schedule_whose_function_is_gone_says_so_and_rests) {
  const auto schedule = add("* * * * *");
  answer = fail(ErrorKind::not_found, "the function 'f' was deleted");
  live(minutes(2));
  EXPECT_FALSE(service->find(schedule.id)->enabled);
  ASSERT_EQ(runs(schedule).size(), 1U);
  EXPECT_NE(runs(schedule).front().run.note.find("was deleted"), std::string::npos);
  take(*service->run_now(schedule.id));
  EXPECT_TRUE(jobs.empty());
  EXPECT_NE(runs(schedule).front().run.note.find("was deleted"), std::string::npos);
}

TEST_F(SchedulesTest, a_disk_that_fails_delays_a_run_but_does_not_lose_it) {
  add("* * * * *");
  clock.pass(seconds(59));
  fail_sync_at(1, EIO);
  clock.pass(seconds(1));
  tick();
  EXPECT_TRUE(jobs.empty()) << "nothing begins that is not on disk";
  let_syncs_pass();
  reopen();
  tick();
  EXPECT_EQ(jobs.size(), 1U);
}

TEST_F(SchedulesTest, run_now_runs_beside_what_runs_and_never_takes_a_due_times_place) {
  const auto schedule = add("* * * * *", Overlap::cancel_running);
  take(*service->run_now(schedule.id));  // at a whole minute
  take(*service->run_now(schedule.id));
  EXPECT_EQ(jobs.size(), 2U);
  live(minutes(1));
  EXPECT_EQ(jobs.size(), 3U);
  ASSERT_FALSE(service->run_now("nobody"));
}

TEST_F(SchedulesTest, a_change_counts_from_now_and_a_disabled_schedule_rests) {
  const auto schedule = add("* * * * *");
  const auto disable = [](Schedule& changed) -> Status {
    changed.enabled = false;
    return {};
  };
  ASSERT_TRUE(service->change(schedule.id, disable));
  live(minutes(2));
  EXPECT_TRUE(jobs.empty());
  const auto enable = [](Schedule& changed) -> Status {
    changed.enabled = true;
    changed.cron = "*/10 * * * *";
    return {};
  };
  ASSERT_TRUE(service->change(schedule.id, enable));
  EXPECT_EQ(service->next(), clock.now() + minutes(8));
  const auto spoil = [](Schedule& changed) -> Status {
    changed.cron = "61 * * * *";
    return {};
  };
  EXPECT_FALSE(service->change(schedule.id, spoil));
  EXPECT_EQ(service->find(schedule.id)->cron, "*/10 * * * *");
  ASSERT_TRUE(service->remove(schedule.id));
  reopen();
  EXPECT_TRUE(service->list("default").empty());
}

}  // namespace
}  // namespace fused
