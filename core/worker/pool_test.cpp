#include "worker/pool.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>

#include "worker/scripted_pool.hpp"

namespace fused::testing {

const RunReply& reply_of(const ScriptedRun& run) {
  static const RunReply none{.end = RunEnd::no_result, .message = "no reply", .exit_code = -99};
  EXPECT_TRUE(run.ended && *run.ended) << (run.ended && !*run.ended ? run.ended->error().message : "not over");
  return run.ended && *run.ended ? **run.ended : none;
}

// The slot is free again and a run after whatever was before is served.
void expect_healthy(ScriptedPool& pool) {
  ScriptedRun& canary = pool.begin(kGood);
  ASSERT_TRUE(pool.ends(canary));
  EXPECT_EQ(reply_of(canary).end, RunEnd::reported) << reply_of(canary).message;
  EXPECT_EQ(reply_of(canary).body.view, "value");
  EXPECT_TRUE(pool.until([&] { return pool.pool().figures().busy == 0; }));
}

TEST(Pool, AResultAndTheIdleAfterItMayComeInOneRead) {
  ScriptedPool pool;
  ASSERT_TRUE(pool.started());
  for (int i = 0; i < 200; ++i) {
    ScriptedRun& run = pool.begin(R"([["send","result","idle"]])");
    ASSERT_TRUE(pool.ends(run)) << i;
    EXPECT_EQ(reply_of(run).body.view, "value");
  }
  EXPECT_EQ(pool.pool().figures().lost, 0u);
  expect_healthy(pool);
}

TEST(Pool, AsManyRunsAsWaitAllEndOnOneWorker) {
  ScriptedPool pool;
  for (int i = 0; i < 90; ++i) pool.begin(i % 2 ? kGood : R"([["send","result"],["send","idle"]])");
  ASSERT_TRUE(pool.until([&] { return pool.in_order_of_end().size() == 90; }));
  for (const auto* run : pool.in_order_of_end()) EXPECT_EQ(reply_of(*run).end, RunEnd::reported);
  expect_healthy(pool);
}

TEST(Pool, AWorkerThatDiesBeforeItIsReadyIsReplaced) {
  for (const std::string_view birth : {R"([["exit",3]])", R"([["signal",11]])",
                                       R"([["print",2,"no fused"],["exit",1]])", R"([["bytes","00"],["exit",0]])"}) {
    ScriptedPool pool({}, R"({"births":{"1":)" + std::string(birth) + R"(,"2":)" + std::string(birth) + "}}");
    ScriptedRun& run = pool.begin(kGood);
    ASSERT_TRUE(pool.ends(run)) << birth;
    EXPECT_EQ(reply_of(run).end, RunEnd::reported) << birth;
    EXPECT_GE(run.worker, 3) << birth;
  }
}

TEST(Pool, AForkThatFailedIsTriedAgain) {
  ScriptedPool pool({}, R"({"fork_failed":[1,2]})");
  ScriptedRun& run = pool.begin(kGood);
  ASSERT_TRUE(pool.ends(run));
  EXPECT_GE(run.worker, 3);
  EXPECT_EQ(reply_of(run).end, RunEnd::reported);
}

TEST(Pool, AZygoteThatEndsIsStartedAgainAndItsUnbornWorkersAreForgotten) {
  // The first worker is born and never ready: one that is would race with the news of its zygote's end.
  ScriptedPool pool({}, R"({"ends_at":1,"births":{"1":[["hang"]]}})");
  ScriptedRun& run = pool.begin(kGood);
  ASSERT_TRUE(pool.ends(run));
  EXPECT_NE(run.worker, 1);  // born, but nobody said as which process: it could not be ended when it must
  EXPECT_EQ(reply_of(run).end, RunEnd::reported);
}

TEST(Pool, ARunWhoseZygoteEndsSaysSo) {
  ScriptedPool pool([](PoolOptions& options) { options.workers = 2; }, R"({"ends_at":3})");
  ScriptedRun& run = pool.begin(kHeld);
  ASSERT_TRUE(pool.until([&] { return run.is_waiting(); }));
  ScriptedRun& other = pool.begin(kGood);  // takes the second worker; a third is forked
  ASSERT_TRUE(pool.ends(run));
  EXPECT_EQ(reply_of(run).end, RunEnd::crashed);
  EXPECT_NE(reply_of(run).message.find("forked from ended"), std::string::npos) << reply_of(run).message;
  ASSERT_TRUE(pool.ends(other));
  expect_healthy(pool);
}

struct Ending {
  std::string_view script;
  RunEnd end;
  int signal;
  int exit_code;
  std::string_view said;
};

TEST(Pool, HoweverAWorkerEndsInARunTheRunHasAnOutcomeAndTheNextIsUnharmed) {
  for (const Ending& ending : {
           Ending{R"([["exit",7]])", RunEnd::no_result, 0, 7, "exit code 7"},
           Ending{R"([["signal",11]])", RunEnd::crashed, 11, -1, "signal 11"},
           Ending{R"([["signal",9]])", RunEnd::crashed, 9, -1, "out of memory"},
           Ending{R"([["bytes","67617262616765206761726261676520676172626167652067"],["hang"]])", RunEnd::crashed, 9,
                  -1, "wrong magic"},
           Ending{R"([["bytes","46555344"],["exit",0]])", RunEnd::no_result, 0, 0, "before it gave a result"},
           Ending{R"([["send",{"kind":17,"header":{"outcome":"ok"},"nonce":"43"}],["hang"]])", RunEnd::crashed, 9, -1,
                  "wrong nonce"},
           Ending{R"([["send","idle"],["hang"]])", RunEnd::crashed, 9, -1, "kind 20"},
           Ending{R"([["send","ready","result","idle"],["hang"]])", RunEnd::crashed, 9, -1, "kind 16"},
           Ending{R"([["send",{"kind":1}],["hang"]])", RunEnd::crashed, 9, -1, "kind 1 "},
           Ending{R"([["send",{"kind":19,"header":{"call":-1}}],["hang"]])", RunEnd::crashed, 9, -1, "its number"},
           Ending{R"([["send",{"kind":19,"header":{}}],["hang"]])", RunEnd::crashed, 9, -1, "its number"},
           Ending{R"([["calls",1025],["hang"]])", RunEnd::limit_exceeded, 9, -1, "1024 unanswered requests"},
       }) {
    ScriptedPool pool;
    ScriptedRun& run = pool.begin(ending.script);
    ASSERT_TRUE(pool.ends(run)) << ending.script;
    const RunReply& reply = reply_of(run);
    EXPECT_EQ(reply.end, ending.end) << ending.script << reply.message;
    EXPECT_EQ(reply.signal, ending.signal) << ending.script;
    EXPECT_EQ(reply.exit_code, ending.exit_code) << ending.script;
    EXPECT_NE(reply.message.find(ending.said), std::string::npos) << ending.script << reply.message;
    expect_healthy(pool);
    EXPECT_EQ(pool.pool().figures().lost, 1u) << ending.script;
  }
}

TEST(Pool, AWorkerThatDiesBetweenResultAndIdleHasGivenItsResult) {
  for (const std::string_view after : {R"(["exit",5])", R"(["signal",11])", R"(["bytes","00"],["exit",0])",
                                       R"(["send","result"],["hang"])", R"(["send","idle","idle"],["hang"])"}) {
    ScriptedPool pool;
    ScriptedRun& run = pool.begin(R"([["send","result"],)" + std::string(after) + "]");
    ASSERT_TRUE(pool.ends(run)) << after;
    EXPECT_EQ(reply_of(run).end, RunEnd::reported) << after;
    EXPECT_EQ(reply_of(run).body.view, "value") << after;
    ASSERT_TRUE(pool.until([&] { return pool.pool().figures().lost == 1; })) << after;
    expect_healthy(pool);
  }
}

TEST(Pool, AnEndThatTheZygoteDoesNotTellIsNoticedBySocket) {
  ScriptedPool pool({}, R"({"mute":true})");
  ScriptedRun& run = pool.begin(R"([["exit",7]])");
  ASSERT_TRUE(pool.ends(run));
  EXPECT_EQ(reply_of(run).end, RunEnd::no_result);
  expect_healthy(pool);
}

TEST(Pool, AChildThatHoldsTheWorkersSocketDoesNotHoldItsRun) {
  ScriptedPool pool;
  ScriptedRun& run = pool.begin(R"([["leave_child",45],["exit",7]])");
  ASSERT_TRUE(pool.ends(run));
  EXPECT_EQ(reply_of(run).end, RunEnd::no_result);
  EXPECT_EQ(reply_of(run).exit_code, 7);
  expect_healthy(pool);
}

TEST(Pool, NumbersThatAreNoneInAResultHarmNobody) {
  ScriptedPool pool;
  for (const char* header :
       {R"({"outcome":"ok","peak_memory_bytes":1.5})", R"({"outcome":"ok","peak_memory_bytes":1e300})",
        R"({"outcome":"ok","stream_order":[[1.5,0],[1,-1],["a",{}]]})"}) {
    ScriptedRun& run =
        pool.begin(R"([["send",{"kind":17,"header":)" + std::string(header) + R"(,"body":"value"}],["send","idle"]])");
    ASSERT_TRUE(pool.ends(run)) << header;
    EXPECT_EQ(reply_of(run).end, RunEnd::reported) << header;
  }
  expect_healthy(pool);
}

TEST(Pool, ARunSaysItsOwnLimitsOnce) {
  ScriptedPool pool;
  ScriptedRun& run = pool.begin(
      R"([["send",{"kind":21,"header":{"wall_seconds":50}},{"kind":21,"header":{"wall_seconds":60}}],["hang"]])");
  ASSERT_TRUE(pool.ends(run));
  EXPECT_EQ(reply_of(run).end, RunEnd::crashed);
  expect_healthy(pool);
}

TEST(Pool, ManyTextsAreDescribedByFewWorkers) {
  ScriptedPool pool;
  int said = 0;
  const auto describe = [&]() -> boost::asio::awaitable<void> {
    const auto answer = co_await pool.pool().describe("{}", "organisation owner");
    EXPECT_TRUE(answer);
    ++said;
  };
  for (int i = 0; i < 40; ++i) boost::asio::co_spawn(pool.io(), describe, boost::asio::detached);
  ASSERT_TRUE(pool.until([&] { return said == 40; }));
  EXPECT_LE(pool.pool().figures().forked, 4u);
  expect_healthy(pool);
}

TEST(Pool, AWorkerThatAsksToBeReplacedIs) {
  ScriptedPool pool;
  ScriptedRun& run = pool.begin(R"([["send","result",{"kind":20,"header":{"replace":"a thread was left"}}]])");
  ASSERT_TRUE(pool.ends(run));
  ASSERT_TRUE(pool.until([&] { return pool.pool().figures().lost == 1; }));
  ScriptedRun& next = pool.begin(kGood);
  ASSERT_TRUE(pool.ends(next));
  EXPECT_NE(next.worker, run.worker);
}

TEST(Pool, OutputBelongsToItsRunAndWhatComesAfterTheResultToNobody) {
  ScriptedPool pool;
  ScriptedRun& first =
      pool.begin(R"([["print",1,"one"],["print",2,"two"],["send","result"],["print",1,"late"],["send","idle"]])");
  ScriptedRun& second = pool.begin(kGood);
  ASSERT_TRUE(pool.ends(second));
  EXPECT_EQ(first.worker, second.worker);
  EXPECT_EQ(first.out.substr(0, 3), "one");
  EXPECT_EQ(first.err, "two");
  EXPECT_EQ(second.out, "");
}

TEST(Pool, ARunPastItsTimeIsAskedWhereItIsAndEnded) {
  ScriptedPool pool([](PoolOptions& options) { options.limits.wall_ms = 120; });
  ScriptedRun& run = pool.begin(R"([["print",2,"mine"],["hang"]])");
  ASSERT_TRUE(pool.ends(run));
  EXPECT_EQ(reply_of(run).end, RunEnd::timeout);
  EXPECT_EQ(reply_of(run).message, "the function ran longer than its limit of 0.120 s");
  EXPECT_EQ(run.err, "mine");
  EXPECT_EQ(reply_of(run).last_lines, "in line 7\n");
  EXPECT_GT(reply_of(run).peak_memory_bytes, 1 << 20);
}

TEST(Pool, AQueuedRunThatIsCancelledNeverStarts) {
  ScriptedPool pool;
  ScriptedRun& first = pool.begin(kHeld);
  ASSERT_TRUE(pool.until([&] { return first.is_waiting(); }));
  ScriptedRun& second = pool.begin(kGood);
  ScriptedRun& third = pool.begin(kGood);
  ASSERT_TRUE(pool.until([&] { return pool.pool().figures().queued == 2; }));
  second.ticket.cancel(RunEnd::cancelled, "nobody waits");
  second.ticket.cancel(RunEnd::timeout, "a later reason counts for nothing");
  ASSERT_TRUE(pool.ends(second));
  EXPECT_EQ(reply_of(second).end, RunEnd::cancelled);
  EXPECT_EQ(reply_of(second).message, "nobody waits");
  EXPECT_EQ(second.worker, 0);
  EXPECT_EQ(pool.pool().figures().queued, 1u);
  first.answer();
  ASSERT_TRUE(pool.ends(third));
  EXPECT_EQ(reply_of(third).end, RunEnd::reported);
  expect_healthy(pool);
}

TEST(Pool, ARunCancelledAsItsTurnComesNeverStarts) {
  ScriptedPool pool;
  ScriptedRun& first = pool.begin(kHeld);
  ASSERT_TRUE(pool.until([&] { return first.is_waiting(); }));
  ScriptedRun& second = pool.begin(kGood);
  ASSERT_TRUE(pool.until([&] { return pool.pool().figures().queued == 1; }));
  first.answer();
  // Its turn is given (it left the queue), its coroutine is not resumed yet.
  while (pool.pool().figures().queued == 1) ASSERT_EQ(pool.io().run_one_for(std::chrono::seconds(60)), 1u);
  second.ticket.cancel(RunEnd::cancelled, "nobody waits");
  ASSERT_TRUE(pool.ends(second));
  EXPECT_EQ(reply_of(second).end, RunEnd::cancelled);
  EXPECT_EQ(second.worker, 0);
  expect_healthy(pool);
}

TEST(Pool, ARunCancelledWhileItWaitsForAForkNeverStarts) {
  ScriptedPool pool({}, R"({"births":{"1":[["hang"]]}})");
  ScriptedRun& run = pool.begin(kGood);
  ASSERT_TRUE(pool.until([&] { return pool.pool().figures().alive > 0; }));
  run.ticket.cancel(RunEnd::cancelled, "nobody waits");
  ASSERT_TRUE(pool.ends(run));
  EXPECT_EQ(reply_of(run).end, RunEnd::cancelled);
  EXPECT_EQ(run.worker, 0);
}

TEST(Pool, ARunningOneThatIsCancelledIsEndedWithItsProcess) {
  ScriptedPool pool;
  ScriptedRun& run = pool.begin(R"([["send",{"kind":19,"header":{"call":1}}],["hang"]])");
  ASSERT_TRUE(pool.until([&] { return run.is_waiting(); }));
  run.ticket.cancel(RunEnd::cancelled, "nobody waits");
  ASSERT_TRUE(pool.ends(run));
  EXPECT_EQ(reply_of(run).end, RunEnd::cancelled);
  EXPECT_EQ(reply_of(run).signal, SIGKILL);
  run.answer();  // to a worker that is gone: nothing happens
  expect_healthy(pool);
}

TEST(Pool, AFullQueueRefusesAndSaysHowManyWait) {
  ScriptedPool pool([](PoolOptions& options) { options.queue_length = 3; });
  ScriptedRun& first = pool.begin(kHeld);
  ASSERT_TRUE(pool.until([&] { return first.is_waiting(); }));
  for (int i = 0; i < 3; ++i) pool.begin(kGood);
  ScriptedRun& refused = pool.begin(kGood);
  ASSERT_TRUE(pool.ends(refused));
  ASSERT_FALSE(*refused.ended);
  EXPECT_EQ(refused.ended->error().kind, ErrorKind::too_many_requests);
  EXPECT_NE(refused.ended->error().message.find("3 runs are waiting"), std::string::npos);
  EXPECT_EQ(pool.pool().figures().refused, 1u);
  ScriptedRun& nested = pool.begin(kGood, [](RunOrder& order) { order.nested = true; });
  first.answer();
  ASSERT_TRUE(pool.until([&] { return pool.in_order_of_end().size() == 6; }));
  EXPECT_EQ(pool.in_order_of_end()[2], &nested);  // first of those that waited, and never refused
}

TEST(Pool, CallersTakeTurnsHoweverManyRunsOneOfThemHas) {
  ScriptedPool pool;
  ScriptedRun& first = pool.begin(kHeld);
  ASSERT_TRUE(pool.until([&] { return first.is_waiting(); }));
  for (int i = 0; i < 10; ++i) pool.begin(kGood, [](RunOrder& order) { order.caller = "greedy"; });
  std::vector<ScriptedRun*> modest;
  for (int i = 0; i < 3; ++i) modest.push_back(&pool.begin(kGood, [](RunOrder& order) { order.caller = "modest"; }));
  ASSERT_TRUE(pool.until([&] { return pool.pool().figures().queued == 13; }));
  first.answer();
  ASSERT_TRUE(pool.until([&] { return pool.in_order_of_end().size() == 14; }));
  const auto& order = pool.in_order_of_end();
  for (std::size_t i = 0; i < modest.size(); ++i) EXPECT_EQ(order[2 + 2 * i], modest[i]) << i;
}

TEST(Pool, AWarmWorkerServesOneOwnerAndNeverAnother) {
  ScriptedPool pool;
  const auto of = [](std::string key) { return [key](RunOrder& order) { order.worker_key = key; }; };
  ScriptedRun& a1 = pool.begin(kGood, of("a"));
  ASSERT_TRUE(pool.ends(a1));
  ScriptedRun& a2 = pool.begin(kGood, of("a"));
  ASSERT_TRUE(pool.ends(a2));
  EXPECT_EQ(a1.worker, a2.worker);
  ScriptedRun& b = pool.begin(kGood, of("b"));
  ASSERT_TRUE(pool.ends(b));
  EXPECT_NE(b.worker, a1.worker);
  ScriptedRun& fresh = pool.begin(kGood, [](RunOrder& order) { order.worker_key = "b", order.fresh = true; });
  ASSERT_TRUE(pool.ends(fresh));
  EXPECT_NE(fresh.worker, b.worker);
  ScriptedRun& after = pool.begin(kGood, of("b"));
  ASSERT_TRUE(pool.ends(after));
  EXPECT_NE(after.worker, fresh.worker);
}

// Each request of the parent is a run, as RunConversation makes it: meanwhile the parent's slot is free.
void serve_calls(ScriptedPool& pool, ScriptedRun& parent, int depth, int& most_at_once) {
  parent.on_call = [&pool, &parent, &most_at_once, depth] {
    const auto answer = std::move(parent.unanswered.back());
    parent.unanswered.pop_back();
    parent.ticket.begin_nested();
    const auto script = depth == 1 ? kGood : std::string_view(R"([["call",1],["send","result","idle"]])");
    ScriptedRun& child = pool.begin(script, [](RunOrder& order) { order.nested = true; });
    child.on_end = [&parent, answer] {
      parent.ticket.end_nested();
      answer();
    };
    serve_calls(pool, child, depth - 1, most_at_once);
    most_at_once = std::max(most_at_once, pool.pool().figures().alive);
  };
}

TEST(Pool, TwentyParentsWithThreeChildrenEachEndOnOneWorker) {
  ScriptedPool pool;
  int most_at_once = 0;
  for (int i = 0; i < 20; ++i)
    serve_calls(pool, pool.begin(R"([["call",3],["send","result","idle"]])"), 1, most_at_once);
  ASSERT_TRUE(pool.until([&] { return pool.in_order_of_end().size() == 80; })) << pool.in_order_of_end().size();
  for (const auto* run : pool.in_order_of_end()) EXPECT_EQ(reply_of(*run).end, RunEnd::reported);
  EXPECT_GT(most_at_once, 1);
  EXPECT_LE(most_at_once, 1 * (5 + 1) + 2);  // suspended parents up to the recursion limit, one that runs, one to come
  expect_healthy(pool);
}

TEST(Pool, RunsMayCallOneAnotherToTheRecursionLimitOnOneWorker) {
  ScriptedPool pool;
  int most_at_once = 0;
  for (int i = 0; i < 3; ++i)
    serve_calls(pool, pool.begin(R"([["call",1],["send","result","idle"]])"), 5, most_at_once);
  ASSERT_TRUE(pool.until([&] { return pool.in_order_of_end().size() == 18; })) << pool.in_order_of_end().size();
  for (const auto* run : pool.in_order_of_end()) EXPECT_EQ(reply_of(*run).end, RunEnd::reported);
  expect_healthy(pool);
}

TEST(Pool, AParentThatDiesWhileItsChildRunsGivesTheSlotBackOnce) {
  ScriptedPool pool;
  ScriptedRun& parent = pool.begin(R"([["call",1],["send","result","idle"]])");
  ASSERT_TRUE(pool.until([&] { return parent.is_waiting(); }));
  parent.ticket.begin_nested();
  ScriptedRun& child = pool.begin(kHeld, [](RunOrder& order) { order.nested = true; });
  ASSERT_TRUE(pool.until([&] { return child.is_waiting(); }));
  parent.ticket.cancel(RunEnd::cancelled, "nobody waits");
  ASSERT_TRUE(pool.ends(parent));
  parent.ticket.end_nested();
  ScriptedRun& next = pool.begin(kGood);
  ASSERT_TRUE(pool.until([&] { return pool.pool().figures().queued == 1; }));  // the child has the one slot
  child.answer();
  ASSERT_TRUE(pool.ends(next));
  EXPECT_EQ(pool.in_order_of_end()[1], &child);
  expect_healthy(pool);
}

TEST(Pool, ATextIsDescribedByAWorkerThatIsThenFreeAndADeathInItIsAnAnswer) {
  ScriptedPool pool;
  std::vector<Result<std::string>> said;
  const auto describe = [&](std::string header) -> boost::asio::awaitable<void> {
    said.push_back(co_await pool.pool().describe(std::move(header), "organisation owner"));
  };
  for (const char* header : {"{}", R"({"script":[["exit",3]]})", R"({"script":[["send","ready"],["hang"]]})", "{}"}) {
    const std::size_t before = said.size();
    boost::asio::co_spawn(pool.io(), describe(header), boost::asio::detached);
    ASSERT_TRUE(pool.until([&] { return said.size() > before; })) << header;
  }
  EXPECT_EQ(said[0].value_or(""), R"({"udfs": []})");
  for (const std::size_t dead : {1u, 2u}) {
    ASSERT_FALSE(said[dead]);
    EXPECT_EQ(said[dead].error().kind, ErrorKind::unavailable);
  }
  EXPECT_EQ(said[3].value_or(""), R"({"udfs": []})");
  expect_healthy(pool);
}

TEST(Pool, StoppingEndsEveryRunThatWaitsOrGoesOn) {
  ScriptedPool pool;
  ScriptedRun& running = pool.begin(kHeld);
  ASSERT_TRUE(pool.until([&] { return running.is_waiting(); }));
  ScriptedRun& queued = pool.begin(kGood);
  ASSERT_TRUE(pool.until([&] { return pool.pool().figures().queued == 1; }));
  pool.pool().stop();
  ScriptedRun& late = pool.begin(kGood);
  ASSERT_TRUE(pool.until([&] { return running.is_over() && queued.is_over() && late.is_over(); }));
  EXPECT_EQ(reply_of(running).end, RunEnd::cancelled);
  for (const auto* run : {&queued, &late}) {
    ASSERT_FALSE(*run->ended);
    EXPECT_EQ(run->ended->error().kind, ErrorKind::unavailable);
  }
  ASSERT_TRUE(pool.until([&] { return pool.pool().figures().alive == 0; }));
}

}  // namespace fused::testing
