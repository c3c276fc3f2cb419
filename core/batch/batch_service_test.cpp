#include "batch/batch_service.hpp"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include "base/ids.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace asio = boost::asio;
namespace {

// A server whose pool never gets a worker: what is told here happens to calls that wait.
struct Server {
  explicit Server(std::chrono::seconds idle) {
    init_random();
    PoolOptions pool_options;
    pool_options.scratch = folder / "scratch";
    pool = std::make_unique<Pool>(io, pool_options);
    log = RunLog::open({.mount = folder / "mount", .journal = folder / "journal"}, clock).value();
    runs = std::make_unique<RunService>(io, *pool, *log, tokens, RunServiceOptions{});
    batches = std::make_unique<BatchService>(
        io, *runs, nullptr, *log,
        BatchServiceOptions{.data = folder.path(), .calls_table = "/bin/true", .workers = 2, .idle = idle});
  }
  ~Server() { pool->stop(); }

  std::shared_ptr<Batch> open(std::uint32_t calls) {
    RunRequest request;
    FunctionSource function;
    function.name = "f";
    function.owner_id = "owner";
    request.function = std::make_shared<const FunctionSource>(function);
    request.actor.user_id = "owner";
    request.actor.email = "owner@localhost";
    request.caller = "owner";
    request.run_id = request.folder_id = new_uuid();
    std::shared_ptr<Batch> batch;
    const auto task = [&]() -> asio::awaitable<void> {
      auto opened = co_await batches->open(std::move(request), BatchWish{});
      if (opened) batch = *opened;
    };
    asio::co_spawn(io, task(), asio::detached);
    EXPECT_TRUE(until([&] { return batch != nullptr; }));
    const auto text = std::make_shared<const std::string>(R"({"piece":0,"calls":[[0,)" + std::to_string(calls) + "]]}");
    if (calls > 0) {
      EXPECT_TRUE(take(*batch, ArgumentPiece::read(text, *text).value()));
    }
    return batch;
  }
  Status take(Batch& batch, std::shared_ptr<const ArgumentPiece> piece) {
    std::optional<Status> taken;
    const auto task = [&]() -> asio::awaitable<void> { taken = co_await batch.take(std::move(piece)); };
    asio::co_spawn(io, task(), asio::detached);
    EXPECT_TRUE(until([&] { return taken.has_value(); }));
    return taken.value_or(Status());
  }
  bool until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      io.restart();
      io.run_one_for(std::chrono::milliseconds(100));
    }
    return true;
  }

  TestFolder folder;
  asio::io_context io{1};
  Clock clock;
  RunTokens tokens;
  std::unique_ptr<Pool> pool;
  std::unique_ptr<RunLog> log;
  std::unique_ptr<RunService> runs;
  std::unique_ptr<BatchService> batches;
};

TEST(BatchService, ABatchWhoseOwnerAsksForNothingIsCancelledAndItsFolderMade) {
  Server server(std::chrono::seconds(1));
  const auto batch = server.open(7);
  ASSERT_TRUE(server.until([&] { return server.log->metrics().appended == 1; }));
  EXPECT_TRUE(batch->is_over());
  EXPECT_EQ(batch->counts().by_status[static_cast<std::size_t>(CallStatus::cancelled)], 7U);
  ASSERT_TRUE(server.log->wait_until_written(std::chrono::seconds(20)));
  bool found = false;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(server.folder / "mount"))
    found = found || entry.path().filename() == "calls.parquet";
  EXPECT_TRUE(found);
  EXPECT_TRUE(std::filesystem::is_empty(server.folder / "batches"));
}

TEST(BatchService, WhileManyCallsAreCancelledOthersHaveTheirTurn) {
  constexpr std::uint32_t calls = 300'000;
  Server server(std::chrono::seconds(300));
  const auto batch = server.open(calls);
  batch->cancel();
  EXPECT_FALSE(batch->is_done());
  EXPECT_TRUE(batch->is_busy());
  EXPECT_EQ(batch->counts().waiting, 0U);
  batch->close();
  int turns = 0;
  const std::function<void()> turn = [&] {
    if (batch->is_done()) return;
    ++turns;
    asio::post(server.io, turn);
  };
  turn();
  ASSERT_TRUE(server.until([&] { return batch->is_over(); }));
  EXPECT_GT(turns, 5);
  EXPECT_EQ(batch->counts().by_status[static_cast<std::size_t>(CallStatus::cancelled)], calls);
}

TEST(BatchService, OfCallsThatWaitThoseThatAreNamedAreCancelledAndTheOthersStay) {
  Server server(std::chrono::seconds(300));
  const auto batch = server.open(100'000);
  std::vector<std::uint32_t> named{7, 99'999, 7, 0, 123'456};
  for (std::uint32_t i = 1'000; i < 51'000; i += 2) named.push_back(i);
  batch->cancel(named);
  ASSERT_TRUE(server.until([&] { return batch->counts().finished == 25'003; }));
  EXPECT_EQ(batch->counts().waiting, 100'000U - 25'003U);
  batch->cancel({0, 8});  // the first has ended before
  ASSERT_TRUE(server.until([&] { return batch->counts().finished == 25'004; }));
  batch->cancel();
  ASSERT_TRUE(server.until([&] { return batch->is_done(); }));
  EXPECT_EQ(batch->counts().by_status[static_cast<std::size_t>(CallStatus::cancelled)], 100'000U);
  std::vector<bool> seen(100'000);
  batch->results().seal();
  for (std::uint64_t number = 0; number < batch->results().chunks(); ++number) {
    std::optional<Result<Bytes>> chunk;
    const auto read = [&]() -> asio::awaitable<void> { chunk = co_await batch->results().chunk(number, true); };
    asio::co_spawn(server.io, read(), asio::detached);
    ASSERT_TRUE(server.until([&] { return chunk.has_value(); }));
    const auto ended = ResultChunk::first_of((*chunk)->view);
    ASSERT_TRUE(ended);
    EXPECT_TRUE(ended->for_each([&](const ResultChunk::Call& call) {
      EXPECT_FALSE(seen[call.index]) << call.index;
      seen[call.index] = true;
    }));
  }
  EXPECT_EQ(std::ranges::count(seen, true), 100'000);
}

TEST(BatchService, AnotherUsersBatchIsUnknown) {
  Server server(std::chrono::seconds(300));
  const auto batch = server.open(0);
  Actor owner, other;
  owner.user_id = "owner";
  other.user_id = "other";
  EXPECT_TRUE(server.batches->find(batch->id(), owner));
  const auto refused = server.batches->find(batch->id(), other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message.find("there is no batch"), 0U);
}

TEST(BatchService, AStoppingServerEndsItsBatchesAndTakesNoOthers) {
  Server server(std::chrono::seconds(300));
  const auto batch = server.open(3);
  server.batches->stop("the server is stopping");
  bool finished = false;
  const auto task = [&]() -> asio::awaitable<void> {
    co_await server.batches->finish();
    finished = true;
  };
  asio::co_spawn(server.io, task(), asio::detached);
  ASSERT_TRUE(server.until([&] { return finished; }));
  EXPECT_EQ(server.log->metrics().appended, 1U);
  EXPECT_EQ(batch->counts().finished, 3U);
}

}  // namespace
}  // namespace fused
