#include "batch/batch_service.hpp"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

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
      EXPECT_TRUE(batch->take(ArgumentPiece::read(text, *text).value()));
    }
    return batch;
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
