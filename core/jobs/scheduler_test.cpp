// What a scheduler promises, one thing at a time; scheduler_simulation_test tries all of it together.
#include "jobs/scheduler.hpp"

#include <gtest/gtest.h>

#include <set>

#include "jobs/memory_job_store.hpp"

namespace fused {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct HandClock : Clock {
  SteadyTime steady_now{};
  WallTime wall{};
  SteadyTime steady() const override { return steady_now; }
  WallTime now() const override { return wall; }
};

struct ListLauncher : Launcher {
  std::vector<AttemptStart> started;
  std::set<AttemptId> killed;
  std::vector<AttemptId> left_over;
  void start(const AttemptStart& attempt, const JobSpec&) override { started.push_back(attempt); }
  void kill(AttemptId attempt) override { killed.insert(attempt); }
  void kill_left_over(const LeftOver& process) override { left_over.push_back(process.id); }
};

struct SchedulerTest : testing::Test {
  HandClock clock;
  MemoryJobStore store;
  ListLauncher launcher;
  SchedulerRules rules;
  std::unique_ptr<Scheduler> scheduler;

  void SetUp() override { restart(); }
  void TearDown() override { EXPECT_EQ(store.broken, std::vector<std::string>()); }
  void restart() {
    scheduler = std::make_unique<Scheduler>(rules, clock, store, launcher);
    ASSERT_TRUE(scheduler->begin());
  }
  JobSpec job(const std::string& id, std::int64_t tasks = 1, const std::string& user = "ann") {
    JobSpec spec;
    spec.id = spec.name = id;
    spec.user_id = user;
    spec.steps = {StepPlan{tasks, 0, false}};
    spec.parallel_max = 64;
    return spec;
  }
  JobState state(const std::string& id) { return store.jobs.at(id).state; }
  AttemptId last() { return launcher.started.back().id; }
  Told end(AttemptId id, AttemptEnd how = AttemptEnd::done) {
    const Told told = scheduler->finished(id, {how, "results/x", how == AttemptEnd::done ? "" : "it broke"});
    scheduler->exited(id);
    return told;
  }
  void wait(milliseconds time) {
    clock.steady_now += time;
    scheduler->tick();
  }
};

TEST_F(SchedulerTest, a_job_runs_its_steps_one_after_another_and_is_done) {
  JobSpec two = job("j");
  two.steps = {StepPlan{2, 0, false}, StepPlan{1, 0, false}};
  ASSERT_TRUE(scheduler->submit(two));
  ASSERT_EQ(launcher.started.size(), 2u);
  EXPECT_EQ(end(launcher.started[0].id), Told::recorded);
  EXPECT_EQ(launcher.started.size(), 2u) << "the second step waits for the whole first";
  EXPECT_EQ(scheduler->view("j")->finished_tasks, 1);
  end(launcher.started[1].id);
  ASSERT_EQ(launcher.started.size(), 3u);
  EXPECT_EQ(launcher.started[2].step, 1);
  EXPECT_EQ(launcher.started[2].number_in_step, 0);
  end(last());
  EXPECT_EQ(state("j"), JobState::done);
  EXPECT_FALSE(scheduler->view("j"));
  EXPECT_EQ(scheduler->figures().in_use.cores, 0);
  EXPECT_TRUE(store.not_gone.empty());
}

TEST_F(SchedulerTest, a_run_that_became_a_job_counts_at_once_and_nothing_else_starts_until_there_is_room) {
  ASSERT_TRUE(scheduler->submit(job("j", 2)));  // takes both cores
  JobSpec run = job("run");
  run.task_share = {1, rules.machine.memory_bytes * 4};
  const auto start = scheduler->adopt(run);
  ASSERT_TRUE(start);
  EXPECT_EQ(start->attempt, 1);
  EXPECT_TRUE(start->job_begins);
  EXPECT_EQ(launcher.started.size(), 2u) << "its process is there";
  EXPECT_EQ(state("run"), JobState::running);
  EXPECT_EQ(scheduler->figures().in_use.cores, 3);
  JobSpec after = job("after", 2);
  after.task_share.memory_bytes = 1;
  ASSERT_TRUE(scheduler->submit(after));
  end(launcher.started[0].id);
  EXPECT_EQ(launcher.started.size(), 2u);
  end(launcher.started[1].id);
  EXPECT_EQ(launcher.started.size(), 2u) << "a core is free, but no memory";
  EXPECT_EQ(end(start->id), Told::recorded);
  EXPECT_EQ(state("run"), JobState::done);
  EXPECT_EQ(launcher.started.size(), 4u);
}

TEST_F(SchedulerTest, a_run_that_became_a_job_has_a_lease_a_limit_and_an_end_as_any_other) {
  JobSpec run = job("run");
  run.run_max = seconds(100);
  const auto start = scheduler->adopt(run);
  ASSERT_TRUE(start);
  EXPECT_EQ(scheduler->adopt(run).error().kind, ErrorKind::conflict);
  wait(rules.lease);
  EXPECT_TRUE(launcher.killed.contains(start->id));
  EXPECT_EQ(scheduler->finished(start->id, {AttemptEnd::done, "late", ""}), Told::late);
  scheduler->exited(start->id);
  wait(rules.retry_first);
  ASSERT_EQ(launcher.started.size(), 1u) << "anew, as attempt 2";
  EXPECT_EQ(launcher.started[0].attempt, 2);
  while (state("run") == JobState::running && clock.steady_now < SteadyTime(seconds(200))) {
    scheduler->heartbeat(last());
    wait(rules.lease / 2);
  }
  EXPECT_EQ(state("run"), JobState::failed);
  EXPECT_NE(store.jobs.at("run").error.find("limit of 100 s"), std::string::npos);
}

TEST_F(SchedulerTest, a_killed_server_starts_a_run_that_became_a_job_anew) {
  const auto start = scheduler->adopt(job("run"));
  ASSERT_TRUE(start);
  restart();
  EXPECT_EQ(launcher.left_over, std::vector<AttemptId>{start->id});
  ASSERT_EQ(launcher.started.size(), 1u);
  EXPECT_EQ(launcher.started[0].attempt, 2);
  EXPECT_EQ(scheduler->finished(start->id, {AttemptEnd::done, "late", ""}), Told::late);
  scheduler->exited(start->id);
  EXPECT_EQ(end(last()), Told::recorded);
}

TEST_F(SchedulerTest,
       no_more_runs_become_jobs_than_there_are_cores_and_none_while_the_disk_is_full_or_the_server_leaves) {
  store.fault = [] { return StoreFault::fails; };
  EXPECT_FALSE(scheduler->adopt(job("none")));
  EXPECT_FALSE(scheduler->view("none"));
  EXPECT_EQ(scheduler->figures().in_use.cores, 0);
  store.fault = [] { return StoreFault::none; };
  std::vector<AttemptId> runs;
  for (int i = 0; i < rules.machine.cores; ++i) runs.push_back(scheduler->adopt(job("run" + std::to_string(i)))->id);
  EXPECT_EQ(scheduler->adopt(job("more")).error().kind, ErrorKind::too_many_requests);
  ASSERT_TRUE(scheduler->cancel("run0"));
  EXPECT_TRUE(launcher.killed.contains(runs[0]));
  EXPECT_FALSE(scheduler->adopt(job("more"))) << "its process is still there";
  scheduler->exited(runs[0]);
  EXPECT_TRUE(scheduler->adopt(job("more")));
  scheduler->drain();
  scheduler->exited(runs[1]);
  EXPECT_EQ(scheduler->adopt(job("last")).error().kind, ErrorKind::unavailable);
}

TEST_F(SchedulerTest, the_writer_whose_lease_ran_out_is_turned_away_and_the_task_runs_again) {
  ASSERT_TRUE(scheduler->submit(job("j")));
  const AttemptId first = last();
  wait(rules.lease);
  EXPECT_TRUE(launcher.killed.contains(first));
  EXPECT_EQ(scheduler->finished(first, {AttemptEnd::done, "late", ""}), Told::late);
  scheduler->exited(first);
  wait(rules.retry_first);
  ASSERT_NE(last(), first);
  EXPECT_EQ(end(last()), Told::recorded);
  EXPECT_EQ(store.jobs.at("j").tasks.at(0).result_path, "results/x");
  EXPECT_EQ(scheduler->finished(first, {AttemptEnd::done, "late", ""}), Told::late);
  EXPECT_EQ(scheduler->figures().fenced, 2u);
}

TEST_F(SchedulerTest, a_lost_attempt_is_late_also_while_the_disk_does_not_take_that_it_is_lost) {
  ASSERT_TRUE(scheduler->submit(job("j")));
  store.fault = [] { return StoreFault::fails; };
  wait(rules.lease);
  EXPECT_EQ(scheduler->finished(last(), {AttemptEnd::done, "late", ""}), Told::late);
  scheduler->exited(last());
  store.fault = [] { return StoreFault::none; };
  wait(rules.store_retry);
  wait(rules.retry_max);
  ASSERT_EQ(launcher.started.size(), 2u);
  EXPECT_EQ(end(last()), Told::recorded);
}

TEST_F(SchedulerTest, heartbeats_keep_a_lease_and_a_server_that_was_stopped_blames_nobody) {
  ASSERT_TRUE(scheduler->submit(job("j")));
  for (int i = 0; i < 10; ++i) {
    clock.steady_now += rules.lease - milliseconds(1);
    scheduler->heartbeat(last());
    scheduler->tick();
  }
  EXPECT_TRUE(launcher.killed.empty());
  wait(rules.lease * 5);
  EXPECT_TRUE(launcher.killed.empty());
  wait(rules.lease);
  EXPECT_EQ(launcher.killed.size(), 1u);
}

TEST_F(SchedulerTest, a_function_that_fails_is_tried_as_often_as_asked_and_the_platform_twice_more) {
  ASSERT_TRUE(scheduler->submit(job("once")));
  end(last(), AttemptEnd::failed);
  EXPECT_EQ(state("once"), JobState::failed);
  EXPECT_NE(store.jobs.at("once").error.find("it broke"), std::string::npos);

  JobSpec thrice = job("thrice");
  thrice.retries.function_max = 2;
  ASSERT_TRUE(scheduler->submit(thrice));
  for (int i = 0; i < 2; ++i) {
    end(last(), AttemptEnd::failed);
    EXPECT_EQ(state("thrice"), JobState::running);
    wait(rules.retry_max);
  }
  end(last(), AttemptEnd::failed);
  EXPECT_EQ(state("thrice"), JobState::failed);

  ASSERT_TRUE(scheduler->submit(job("crashing")));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(state("crashing"), JobState::running);
    scheduler->exited(last(), AttemptEnd::crashed, "signal 11");
    wait(rules.retry_max);
  }
  EXPECT_EQ(state("crashing"), JobState::failed);
}

TEST_F(SchedulerTest, a_failed_task_ends_the_others_unless_the_step_ignores_it) {
  ASSERT_TRUE(scheduler->submit(job("strict", 2)));
  const AttemptId first = launcher.started[0].id, second = launcher.started[1].id;
  end(first, AttemptEnd::failed);
  EXPECT_EQ(state("strict"), JobState::failed);
  EXPECT_TRUE(launcher.killed.contains(second));
  EXPECT_EQ(end(second), Told::late);

  JobSpec lenient = job("lenient", 2);
  lenient.steps[0].ignore_chunk_error = true;
  ASSERT_TRUE(scheduler->submit(lenient));
  const std::size_t n = launcher.started.size();
  end(launcher.started[n - 2].id, AttemptEnd::failed);
  end(launcher.started[n - 1].id);
  EXPECT_EQ(state("lenient"), JobState::done);
  EXPECT_EQ(store.jobs.at("lenient").tasks.at(0).state, TaskState::failed);
}

TEST_F(SchedulerTest, cancel_is_final_and_a_share_is_held_until_the_process_is_gone) {
  ASSERT_TRUE(scheduler->submit(job("j", 2)));
  ASSERT_TRUE(scheduler->submit(job("next")));
  ASSERT_TRUE(scheduler->cancel("j"));
  EXPECT_EQ(state("j"), JobState::canceled);
  EXPECT_EQ(launcher.killed.size(), 2u);
  EXPECT_EQ(launcher.started.size(), 2u) << "its processes still hold the machine";
  EXPECT_EQ(end(launcher.started[0].id), Told::late);
  EXPECT_EQ(launcher.started.size(), 3u);
  EXPECT_EQ(state("j"), JobState::canceled);
  EXPECT_EQ(scheduler->cancel("j").error().kind, ErrorKind::not_found);
  EXPECT_EQ(scheduler->cancel("nobody").error().kind, ErrorKind::not_found);
}

TEST_F(SchedulerTest, another_life_takes_up_what_was_open_and_fences_the_attempts_of_the_last) {
  ASSERT_TRUE(scheduler->submit(job("j", 3)));
  ASSERT_TRUE(scheduler->submit(job("waiting")));
  end(launcher.started[0].id);
  const AttemptId open = launcher.started[1].id;
  restart();
  EXPECT_EQ(launcher.left_over.size(), 2u);
  EXPECT_EQ(scheduler->finished(open, {}), Told::late);
  EXPECT_EQ(scheduler->view("j")->finished_tasks, 1);
  while (state("waiting") != JobState::done) end(launcher.started[launcher.started.size() - 1].id), restart();
  while (state("j") != JobState::done) end(last()), restart();
  EXPECT_EQ(store.jobs.at("j").ends, 1);
}

TEST_F(SchedulerTest, a_result_that_the_disk_does_not_take_is_kept_and_recorded_later) {
  ASSERT_TRUE(scheduler->submit(job("j")));
  store.fault = [] { return StoreFault::fails; };
  EXPECT_EQ(end(last()), Told::kept);
  EXPECT_EQ(scheduler->submit(job("other")).error().kind, ErrorKind::storage_full);
  EXPECT_EQ(scheduler->cancel("j").error().kind, ErrorKind::storage_full);
  wait(rules.store_retry);
  EXPECT_EQ(state("j"), JobState::running);
  store.fault = [] { return StoreFault::none; };
  ASSERT_TRUE(scheduler->next_due());
  wait(rules.store_retry);
  EXPECT_EQ(state("j"), JobState::done);
  EXPECT_EQ(launcher.started.size(), 1u);
}

TEST_F(SchedulerTest, a_start_that_the_disk_does_not_take_happens_later) {
  bool full = false;
  store.fault = [&] { return std::exchange(full, true) ? StoreFault::fails : StoreFault::none; };
  ASSERT_TRUE(scheduler->submit(job("j", 5)));
  EXPECT_TRUE(launcher.started.empty());
  EXPECT_EQ(scheduler->figures().in_use.cores, 0);
  EXPECT_EQ(scheduler->view("j")->state, JobState::pending);
  store.fault = [] { return StoreFault::none; };
  wait(rules.store_retry);
  ASSERT_EQ(launcher.started.size(), 2u);
  EXPECT_EQ(launcher.started[0].task, 0);
  EXPECT_TRUE(launcher.started[0].job_begins);
  EXPECT_EQ(launcher.started[1].task, 1);
}

TEST_F(SchedulerTest, a_user_with_few_jobs_does_not_wait_for_one_with_many) {
  for (int i = 0; i < 1'000; ++i) ASSERT_TRUE(scheduler->submit(job("ann" + std::to_string(i))));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(scheduler->submit(job("bob" + std::to_string(i), 1, "bob")));
  std::size_t ended = 0;
  for (; ended < 24; ++ended) {
    clock.steady_now += seconds(1);
    end(launcher.started[ended].id);
  }
  EXPECT_EQ(state("bob9"), JobState::done);
}

TEST_F(SchedulerTest, long_tasks_do_not_take_more_than_short_ones_of_another_user) {
  rules.machine.cores = 1;
  restart();
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(scheduler->submit(job("long" + std::to_string(i), 1, "ann")));
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(scheduler->submit(job("short" + std::to_string(i), 1, "bob")));
  double ann = 0, bob = 0;
  for (int i = 0; i < 300; ++i) {
    const AttemptStart start = launcher.started.back();
    const bool is_long = start.job_id.starts_with("long");
    clock.steady_now += is_long ? seconds(20) : seconds(1);
    (is_long ? ann : bob) += is_long ? 20 : 1;
    end(start.id);
  }
  EXPECT_LT(ann / bob, 1.25);
  EXPECT_LT(bob / ann, 1.25);
}

TEST_F(SchedulerTest, priority_orders_the_jobs_of_one_user_and_takes_nothing_from_others) {
  rules.machine.cores = 1;
  restart();
  ASSERT_TRUE(scheduler->submit(job("first")));
  JobSpec urgent = job("urgent"), other = job("other", 1, "bob");
  urgent.priority = 10;
  ASSERT_TRUE(scheduler->submit(job("plain")));
  ASSERT_TRUE(scheduler->submit(other));
  ASSERT_TRUE(scheduler->submit(urgent));
  std::vector<std::string> order;
  for (int i = 0; i < 4; ++i) {
    order.push_back(launcher.started.back().job_id);
    clock.steady_now += seconds(1);
    end(last());
  }
  EXPECT_EQ(order, (std::vector<std::string>{"first", "other", "urgent", "plain"}));
}

TEST_F(SchedulerTest, a_task_that_needs_much_is_not_passed_for_ever) {
  JobSpec wide = job("wide", 1, "bob");
  wide.task_share.cores = 2;
  ASSERT_TRUE(scheduler->submit(job("small", 10'000)));
  ASSERT_TRUE(scheduler->submit(wide));
  std::size_t ended = 0;
  for (; ended < 200 && state("wide") != JobState::running; ++ended) {
    clock.steady_now += seconds(1);
    end(launcher.started[ended].id);  // one of two at a time: two cores are never free by themselves
  }
  EXPECT_EQ(state("wide"), JobState::running);
  EXPECT_GE(ended, 60u);
  EXPECT_LE(ended, 64u);
}

TEST_F(SchedulerTest, never_more_than_the_machine_the_job_and_the_step_allow) {
  rules.machine = {8, std::int64_t{4} << 30};
  restart();
  JobSpec narrow = job("narrow", 100);
  narrow.parallel_max = 3;
  ASSERT_TRUE(scheduler->submit(narrow));
  EXPECT_EQ(launcher.started.size(), 3u);
  JobSpec narrower = job("narrower", 100);
  narrower.steps[0].parallel_max = 1;
  ASSERT_TRUE(scheduler->submit(narrower));
  EXPECT_EQ(launcher.started.size(), 4u);
  JobSpec heavy = job("heavy", 100);
  heavy.task_share.memory_bytes = std::int64_t{3} << 30;
  ASSERT_TRUE(scheduler->submit(heavy));
  EXPECT_EQ(launcher.started.size(), 5u);
}

TEST_F(SchedulerTest, what_cannot_run_is_refused_with_what_is_allowed) {
  const auto message = [&](const JobSpec& spec) {
    const Status status = scheduler->submit(spec);
    EXPECT_FALSE(status);
    return status ? std::string() : status.error().message;
  };
  JobSpec bad = job("bad");
  bad.steps.clear();
  EXPECT_NE(message(bad).find("no steps"), std::string::npos);
  EXPECT_NE(message(job("bad", 0)).find("0 tasks; allowed are 1 to"), std::string::npos);
  bad = job("bad");
  bad.task_share.cores = 64;
  EXPECT_NE(message(bad).find("64 cores and 0 MiB a task; this machine has 2 cores"), std::string::npos);
  ASSERT_TRUE(scheduler->submit(job("twice")));
  EXPECT_EQ(scheduler->submit(job("twice")).error().kind, ErrorKind::conflict);
}

TEST_F(SchedulerTest, a_task_that_ends_the_server_each_time_is_given_up) {
  rules.interruptions_max = 5;
  restart();
  ASSERT_TRUE(scheduler->submit(job("killer")));
  for (int i = 0; i < 4; ++i) restart();
  EXPECT_EQ(state("killer"), JobState::running);
  restart();
  EXPECT_EQ(state("killer"), JobState::failed);
  EXPECT_NE(store.jobs.at("killer").error.find("interrupted 5 times"), std::string::npos);
}

TEST_F(SchedulerTest, a_job_ends_at_its_limit_of_time_also_when_the_server_was_started_again) {
  JobSpec limited = job("limited");
  limited.run_max = seconds(100);
  ASSERT_TRUE(scheduler->submit(limited));
  const auto pass = [&](int time) {
    for (int i = 0; i < time; ++i) {
      clock.steady_now += seconds(1);
      clock.wall += seconds(1);
      scheduler->heartbeat(last());
      scheduler->tick();
    }
  };
  pass(60);
  restart();
  pass(39);
  EXPECT_EQ(state("limited"), JobState::running);
  pass(1);
  EXPECT_EQ(state("limited"), JobState::failed);
  EXPECT_NE(store.jobs.at("limited").error.find("limit of 100 s"), std::string::npos);
  EXPECT_TRUE(launcher.killed.contains(last()));

  // The wall clock jumps back and forth; a job that waits for its turn uses no time.
  ASSERT_TRUE(scheduler->submit([&] {
    JobSpec other = limited;
    other.id = "other";
    return other;
  }()));
  clock.wall -= seconds(1'000'000);
  pass(99);
  restart();
  EXPECT_EQ(state("other"), JobState::running);
  pass(100);
  EXPECT_EQ(state("other"), JobState::failed);
}

TEST_F(SchedulerTest, a_server_that_leaves_starts_nothing_more) {
  ASSERT_TRUE(scheduler->submit(job("j", 3)));
  scheduler->drain();
  EXPECT_EQ(end(launcher.started[0].id), Told::recorded);
  EXPECT_EQ(launcher.started.size(), 2u);
}

}  // namespace
}  // namespace fused
