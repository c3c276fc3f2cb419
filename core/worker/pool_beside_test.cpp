// Runs of jobs: beside the slots, in a worker that is nobody else's.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "worker/scripted_pool.hpp"

namespace fused {
namespace {

using testing::kGood;
using testing::kHang;
using testing::kHeld;
using testing::ScriptedPool;
using testing::ScriptedRun;

void beside(RunOrder& order) { order.beside = RunLimits{}; }

TEST(PoolBeside, NeedsNoSlotAndLeavesNoProcess) {
  ScriptedPool pool;
  ASSERT_TRUE(pool.started());
  ScriptedRun& held = pool.begin(kHeld);
  ASSERT_TRUE(pool.until([&] { return held.is_waiting(); }));
  ScriptedRun& job = pool.begin(kGood, beside);
  pid_t pid = 0;
  ASSERT_TRUE(pool.until([&] {
    if (pid == 0) pid = job.ticket.pid();
    return job.is_over();
  }));
  ASSERT_TRUE(*job.ended) << job.ended->error().message;
  EXPECT_EQ((*job.ended)->end, RunEnd::reported);
  EXPECT_FALSE(held.is_over());
  EXPECT_NE(job.worker, held.worker);
  EXPECT_EQ(pool.pool().figures().beside, 0);
  ASSERT_GT(pid, 1);
  EXPECT_NE(::kill(pid, 0), 0) << "its worker is ended with it";
  held.answer();
  EXPECT_TRUE(pool.ends(held));
}

TEST(PoolBeside, TheNextRunHasAnotherWorker) {
  ScriptedPool pool;
  ScriptedRun& first = pool.begin(kGood, beside);
  ASSERT_TRUE(pool.ends(first));
  ScriptedRun& second = pool.begin(kGood, beside);
  ASSERT_TRUE(pool.ends(second));
  EXPECT_NE(first.worker, second.worker);
}

TEST(PoolBeside, EndsWhenItIsCancelledWhereverItIs) {
  ScriptedPool pool;
  ScriptedRun& running = pool.begin(kHang, beside);
  ASSERT_TRUE(pool.until([&] { return running.worker != 0; }));
  running.ticket.cancel(RunEnd::cancelled, "enough");
  ASSERT_TRUE(pool.ends(running));
  EXPECT_EQ((*running.ended)->end, RunEnd::cancelled);
  ScriptedRun& starting = pool.begin(kHang, beside);
  ASSERT_TRUE(pool.until([&] { return pool.pool().figures().beside == 1; }));
  starting.ticket.cancel(RunEnd::cancelled, "enough");
  ASSERT_TRUE(pool.ends(starting));
  EXPECT_EQ((*starting.ended)->end, RunEnd::cancelled);
  EXPECT_EQ(pool.pool().figures().beside, 0);
}

TEST(PoolBeside, WhatItAsksOfTheServerTakesNoSlot) {
  ScriptedPool pool;
  ScriptedRun& job = pool.begin(kHang, beside);
  ASSERT_TRUE(pool.until([&] { return job.worker != 0; }));
  job.ticket.begin_nested();
  job.ticket.end_nested();
  ScriptedRun& request = pool.begin(kGood);
  EXPECT_TRUE(pool.ends(request));
  job.ticket.cancel(RunEnd::cancelled, "enough");
  EXPECT_TRUE(pool.ends(job));
}

TEST(PoolBeside, HasItsOwnLimitOfTime) {
  ScriptedPool pool;
  ScriptedRun& job = pool.begin(kHang, [](RunOrder& order) {
    order.beside = RunLimits{};
    order.beside->wall_ms = 100;
  });
  ASSERT_TRUE(pool.ends(job));
  EXPECT_EQ((*job.ended)->end, RunEnd::timeout);
}

TEST(PoolBeside, AWorkerThatIsKilledIsACrash) {
  ScriptedPool pool;
  ScriptedRun& job = pool.begin(kHang, beside);
  // A worker speaks for itself before the zygote has told its pid; and kill(0) would end whoever runs the tests.
  ASSERT_TRUE(pool.until([&] { return job.worker != 0 && job.ticket.pid() > 1; }));
  ::kill(job.ticket.pid(), SIGKILL);
  ASSERT_TRUE(pool.ends(job));
  EXPECT_EQ((*job.ended)->end, RunEnd::crashed);
}

// What the worker of the next task says of its sandbox.
constexpr std::string_view kTellSandbox = R"([["print_sandbox"],["send","result"]])";

TEST(PoolBeside, TheWorkerOfTheNextTaskIsForkedAheadAndTakenWithThatTasksLimits) {
  ScriptedPool pool;
  ScriptedRun& first = pool.begin(kGood, beside);
  ASSERT_TRUE(pool.ends(first));
  ASSERT_TRUE(pool.until([&] { return pool.spare_pid() > 1; }));
  EXPECT_EQ(pool.pool().figures().beside, 0) << "it is nobody's";
  const std::uint64_t forked = pool.pool().figures().forked;
  const pid_t ahead = pool.spare_pid();
  ScriptedRun& second = pool.begin(kTellSandbox, [](RunOrder& order) {
    order.beside = RunLimits{};
    order.beside->descriptors = 123;
    order.job_folder = "/a/folder";
  });
  pid_t pid = 0;
  ASSERT_TRUE(pool.until([&] {
    if (second.worker != 0 && pid == 0) pid = second.ticket.pid();
    return second.is_over();
  }));
  EXPECT_EQ(pid, ahead);
  const boost::json::value told = boost::json::parse(second.out);
  EXPECT_EQ(told.at("limits").at("descriptors"), 123);
  EXPECT_EQ(told.at("job"), "/a/folder");
  EXPECT_LE(pool.pool().figures().forked, forked + 1);
}

TEST(PoolBeside, ASpareThatDiesIsMissedByNobody) {
  ScriptedPool pool;
  ScriptedRun& first = pool.begin(kGood, beside);
  ASSERT_TRUE(pool.ends(first));
  ASSERT_TRUE(pool.until([&] { return pool.spare_pid() > 1; }));
  ScriptedRun& second = pool.begin(kHang, beside);
  ASSERT_TRUE(pool.until([&] { return second.worker != 0 && second.ticket.pid() > 1; }));
  ASSERT_TRUE(pool.until([&] { return pool.spare_pid() > 1; }));
  const pid_t spare = pool.spare_pid();
  ASSERT_EQ(::kill(spare, SIGKILL), 0);
  ASSERT_TRUE(pool.until([&] { return pool.pool().figures().spares == 0; }));
  ScriptedRun& third = pool.begin(kGood, beside);
  ASSERT_TRUE(pool.ends(third));
  EXPECT_EQ((*third.ended)->end, RunEnd::reported);
  second.ticket.cancel(RunEnd::cancelled, "enough");
  ASSERT_TRUE(pool.ends(second));
}

TEST(PoolBeside, ATaskWhoseResultMayBeLargerHasAWorkerOfItsOwn) {
  ScriptedPool pool;
  ScriptedRun& first = pool.begin(kGood, beside);
  ASSERT_TRUE(pool.ends(first));
  ASSERT_TRUE(pool.until([&] { return pool.spare_pid() > 1; }));
  ScriptedRun& second = pool.begin(kGood, [](RunOrder& order) {
    order.beside = RunLimits{};
    order.beside->result_bytes *= 2;
  });
  const pid_t ahead = pool.spare_pid();
  ASSERT_TRUE(pool.ends(second));
  EXPECT_EQ((*second.ended)->end, RunEnd::reported);
  EXPECT_EQ(pool.spare_pid(), ahead) << "it waits on for one that it fits";
}

TEST(PoolBeside, TheSpareEndsWithTheServer) {
  pid_t spare = 0;
  {
    ScriptedPool pool;
    ScriptedRun& first = pool.begin(kGood, beside);
    ASSERT_TRUE(pool.ends(first));
    ASSERT_TRUE(pool.until([&] { return pool.spare_pid() > 1; }));
    spare = pool.spare_pid();
    EXPECT_EQ(::kill(spare, 0), 0);
  }
  // Orphans of the scripted zygote are reaped by init, which may take a moment.
  for (int look = 0; look < 500 && ::kill(spare, 0) == 0; ++look) ::usleep(10'000);
  EXPECT_NE(::kill(spare, 0), 0);
}

}  // namespace
}  // namespace fused
