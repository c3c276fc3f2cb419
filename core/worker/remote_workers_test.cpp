// Attempts on other machines: who may tell what of them, and when each is over.
#include "worker/remote_workers.hpp"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/json/parse.hpp>

#include "base/ids.hpp"

namespace fused {
namespace {
namespace asio = boost::asio;
namespace json = boost::json;

struct TakenRun : RunWatcher {
  RunOrder order;
  RunTicket ticket;
  std::string out;
  std::optional<Result<RunReply>> ended;
  std::vector<std::function<void(std::string, std::string_view)>> unanswered;
  void started(int, std::int64_t) override {}
  void output(int, std::string_view bytes) override { out += bytes; }
  void call(NestedCall, std::function<void(std::string, std::string_view)> answer) override {
    unanswered.push_back(std::move(answer));
  }
};

class RemoteWorkersTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { init_random(); }
  void TearDown() override {
    workers.stop();
    turn();
  }

  std::shared_ptr<TakenRun> begin() {
    auto run = std::make_shared<TakenRun>();
    run->order.udf_full = [] { return std::string(R"({"hash":"h","code":"c"})"); };
    run->order.rest = R"("run_id":"r")";
    run->order.beside = RunLimits{};
    asio::co_spawn(
        io,
        [this, run]() -> asio::awaitable<void> { run->ended = co_await workers.run(run->order, run->ticket, *run); },
        asio::detached);
    turn();
    return run;
  }
  void turn() {
    io.restart();
    io.poll();
  }
  // The attempts that the driver is given now.
  std::vector<std::string> take(const std::string& driver, std::unordered_set<std::string> held = {}) {
    std::optional<Result<std::string>> told;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
          told = co_await workers.take(driver, std::move(held), std::chrono::milliseconds(1));
        },
        asio::detached);
    io.restart();
    while (!told) io.run_one();
    last_error = *told ? "" : told->error().message;
    if (!*told) return {};
    answer = json::parse(**told).as_object();
    std::vector<std::string> ids;
    for (const json::value& each : answer.at("attempts").as_array()) ids.emplace_back(each.at("attempt").as_string());
    return ids;
  }
  bool end(const std::string& id, std::int64_t start, const char* header = R"({"end":"reported","header":{"a":1}})") {
    const Status told = workers.end(id, start, json::parse(header).as_object(), Bytes::of("body"));
    turn();
    return told.has_value();
  }

  asio::io_context io;
  RemoteWorkers workers{io, {.lease = std::chrono::milliseconds(50)}};
  json::object answer;
  std::string last_error;
};

TEST_F(RemoteWorkersTest, ARunIsTakenBegunAndEnded) {
  const auto run = begin();
  EXPECT_TRUE(workers.is_alive(run->ticket)) << "nothing runs that could have died";
  const auto ids = take("first");
  ASSERT_EQ(ids.size(), 1u);
  const json::value& given = answer.at("attempts").as_array().at(0);
  EXPECT_EQ(given.at("order").at("udf").at("code").as_string(), "c");
  EXPECT_EQ(given.at("order").at("run_id").as_string(), "r");
  EXPECT_EQ(given.at("limits").at("wall_ms").as_int64(), RunLimits{}.wall_ms);
  const auto start = workers.begin(ids[0], "node-a");
  ASSERT_TRUE(start);
  ASSERT_TRUE(workers.output(ids[0], *start, 1, 1, "hello"));
  EXPECT_EQ(run->out, "hello");
  ASSERT_TRUE(end(ids[0], *start));
  ASSERT_TRUE(run->ended && *run->ended);
  EXPECT_EQ((*run->ended)->end, RunEnd::reported);
  EXPECT_EQ((*run->ended)->body.view, "body");
  EXPECT_FALSE(end(ids[0], *start)) << "once";
}

TEST_F(RemoteWorkersTest, AStartThatAnotherHasFollowedIsLate) {
  const auto run = begin();
  const auto ids = take("first");
  const auto first = workers.begin(ids[0], "node-a");
  const auto second = workers.begin(ids[0], "node-b");
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(workers.output(ids[0], *first, 1, 1, "late"));
  EXPECT_FALSE(workers.beat(ids[0], *first, {}));
  EXPECT_FALSE(end(ids[0], *first));
  EXPECT_EQ(run->out, "");
  EXPECT_FALSE(run->ended);
  EXPECT_TRUE(end(ids[0], *second));
  EXPECT_EQ(workers.figures().late, 3u);
}

TEST_F(RemoteWorkersTest, APieceOfOutputThatIsSentAgainIsTakenOnce) {
  const auto run = begin();
  const auto ids = take("first");
  auto start = workers.begin(ids[0], "node-a");
  for (const std::int64_t piece : {1, 1, 2, 1, 4, 4}) {
    EXPECT_TRUE(workers.output(ids[0], *start, 1, piece, std::to_string(piece)));
  }
  EXPECT_EQ(run->out, "124") << "one that the server refused is missing";
  EXPECT_TRUE(workers.output(ids[0], *start, 2, 1, "e"));
  EXPECT_EQ(run->out, "124e") << "each stream counts for itself";
  start = workers.begin(ids[0], "node-b");
  EXPECT_TRUE(workers.output(ids[0], *start, 1, 1, "b"));
  EXPECT_EQ(run->out, "124eb") << "so does each start";
}

TEST_F(RemoteWorkersTest, WhatWasLostOnItsWayToTheDriverIsGivenAgain) {
  const auto run = begin();
  const auto ids = take("first");
  EXPECT_TRUE(take("first", {ids[0]}).empty());
  EXPECT_EQ(take("first"), ids);
}

TEST_F(RemoteWorkersTest, AnotherDriverTakesOverAndTheFirstIsToldSo) {
  const auto run = begin();
  const auto ids = take("first");
  const auto start = workers.begin(ids[0], "node-a");
  EXPECT_EQ(take("second"), ids);
  EXPECT_TRUE(take("first", {ids[0]}).empty());
  EXPECT_NE(last_error.find("late"), std::string::npos);
  EXPECT_FALSE(end(ids[0], *start)) << "of the driver before";
  EXPECT_FALSE(workers.give_up(ids[0], "first", "its task was lost"));
  EXPECT_TRUE(workers.give_up(ids[0], "second", "no node has room"));
  turn();
  ASSERT_TRUE(run->ended && *run->ended);
  EXPECT_EQ((*run->ended)->end, RunEnd::crashed);
  EXPECT_NE((*run->ended)->message.find("no node has room"), std::string::npos);
}

TEST_F(RemoteWorkersTest, ACancelledRunEndsAtOnceWhereNobodyHasIt) {
  const auto run = begin();
  run->ticket.cancel(RunEnd::cancelled, "enough");
  turn();
  ASSERT_TRUE(run->ended && *run->ended);
  EXPECT_EQ((*run->ended)->end, RunEnd::cancelled);
  EXPECT_TRUE(take("first").empty());
}

TEST_F(RemoteWorkersTest, ACancelledRunThatNeverReachedItsDriverIsOver) {
  const auto run = begin();
  const auto ids = take("first");  // an answer that is lost
  run->ticket.cancel(RunEnd::cancelled, "enough");
  EXPECT_TRUE(take("first").empty());
  turn();
  ASSERT_TRUE(run->ended && *run->ended);
  EXPECT_EQ((*run->ended)->end, RunEnd::cancelled);

  const auto held = begin();
  const auto others = take("first");
  held->ticket.cancel(RunEnd::cancelled, "enough");
  for (int i = 0; i < 2; ++i) {  // the first answer may be lost as well
    take("first", {others[0]});
    ASSERT_EQ(answer.at("end").as_array().size(), 1u);
  }
  EXPECT_FALSE(held->ended);
}

TEST_F(RemoteWorkersTest, ACancelledRunIsOverWhenItsNodeSaysSo) {
  const auto run = begin();
  const auto ids = take("first");
  const auto start = workers.begin(ids[0], "node-a");
  run->ticket.cancel(RunEnd::cancelled, "enough");
  turn();
  EXPECT_FALSE(run->ended) << "its process is there";
  EXPECT_TRUE(workers.beat(ids[0], *start, {}).value()) << "the node is told";
  take("first", {ids[0]});
  EXPECT_EQ(answer.at("end").as_array().at(0).as_string(), ids[0]) << "and the driver";
  EXPECT_TRUE(end(ids[0], *start, R"({"end":"cancelled"})"));
  ASSERT_TRUE(run->ended && *run->ended);
}

TEST_F(RemoteWorkersTest, ASilentNodeIsNotAliveAndItsCancelledRunEnds) {
  const auto run = begin();
  const auto ids = take("first");
  ASSERT_TRUE(workers.begin(ids[0], "node-a"));
  EXPECT_TRUE(workers.is_alive(run->ticket));
  const auto begun = std::chrono::steady_clock::now();
  while (workers.is_alive(run->ticket)) ASSERT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(45));
  run->ticket.cancel(RunEnd::cancelled, "lost");
  io.restart();
  while (!run->ended) io.run_one();
  EXPECT_EQ((*run->ended)->end, RunEnd::cancelled);
}

TEST_F(RemoteWorkersTest, AQuestionOfARunThatEndsIsAnswered) {
  const auto run = begin();
  const auto ids = take("first");
  const auto start = workers.begin(ids[0], "node-a");
  std::optional<Result<RemoteWorkers::Answer>> answered;
  asio::co_spawn(
      io, [&]() -> asio::awaitable<void> { answered = co_await workers.call(ids[0], *start, NestedCall{1, {}, {}}); },
      asio::detached);
  turn();
  ASSERT_EQ(run->unanswered.size(), 1u);
  EXPECT_FALSE(answered);
  EXPECT_TRUE(end(ids[0], *start));
  turn();
  ASSERT_TRUE(answered);
  EXPECT_FALSE(*answered);
  run->unanswered[0]("{}", "too late");
}

TEST_F(RemoteWorkersTest, AnEndThatNobodyKnowsIsRefusedByName) {
  const auto run = begin();
  const auto ids = take("first");
  const auto start = workers.begin(ids[0], "node-a");
  const Status told = workers.end(ids[0], *start, json::parse(R"({"end":"exploded"})").as_object(), {});
  ASSERT_FALSE(told);
  EXPECT_NE(told.error().message.find("'exploded'"), std::string::npos);
  EXPECT_FALSE(run->ended);
}

}  // namespace
}  // namespace fused
