// For tests: a Pool whose zygote is tests/unit/worker/scripted_zygote.py, real processes that do what each run's script
// says. One thread; the loop runs only inside until().
#pragma once
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/parse.hpp>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "storage/test_folder.hpp"
#include "worker/pool.hpp"

namespace fused::testing {

// One run: its order, what was heard of it, and how it ended.
struct ScriptedRun : RunWatcher {
  RunOrder order;
  RunTicket ticket;
  int worker = 0;  // 0: not started
  std::string out, err;
  std::optional<Result<RunReply>> ended;
  std::vector<std::function<void()>> unanswered;  // requests of the run that wait for this test to answer
  std::function<void()> on_call, on_end;

  void started(int number, std::int64_t) override { worker = number; }
  void output(int stream, std::string_view bytes) override { (stream == 1 ? out : err) += bytes; }
  void call(NestedCall nested, std::function<void(std::string, std::string_view)> answer) override {
    unanswered.push_back([number = nested.call, answer = std::move(answer)] {
      answer("{\"call\":" + std::to_string(number) + ",\"status\":200,\"headers\":{}}", "");
    });
    if (on_call) on_call();
  }
  bool is_over() const { return ended.has_value(); }
  bool is_waiting() const { return !unanswered.empty(); }
  // Lets a run that waits in ["call"] go on.
  void answer() {
    for (const auto& reply : std::exchange(unanswered, {})) reply();
  }
};

// What most runs do.
inline constexpr std::string_view kGood = R"([["send","result","idle"]])";
inline constexpr std::string_view kHeld = R"([["call"],["send","result"],["send","idle"]])";
inline constexpr std::string_view kHang = R"([["hang"]])";

class ScriptedPool {
 public:
  // `sandbox`: for the zygote, see its head.
  explicit ScriptedPool(const std::function<void(PoolOptions&)>& adjust = {}, std::string_view sandbox = "{}") {
    PoolOptions options;
    options.workers = 1;
    options.scratch = folder_.path();
    options.sandbox = boost::json::parse(sandbox).as_object();
    options.zygote.python = FUSED_SOURCE_DIR "/tests/unit/worker/scripted_zygote.py";
    const char* path = std::getenv("PATH");
    options.zygote.environment = {std::string("PATH=") + (path ? path : "/usr/bin:/bin")};
    if (adjust) adjust(options);
    pool_.emplace(io_, std::move(options));
    started_ = pool_->start();
  }

  Pool& pool() { return *pool_; }
  pid_t spare_pid() const { return pool_->figures().spare_pid; }
  const Status& started() const { return started_; }

  // Begins a run; it goes on in until().
  ScriptedRun& begin(std::string_view script, const std::function<void(RunOrder&)>& adjust = {}) {
    ScriptedRun& run = runs_.emplace_back();
    run.order.function_hash = "hash";
    run.order.udf_known = "{}";
    run.order.udf_full = [] { return std::string(R"({"code":""})"); };
    run.order.rest = "\"script\":" + std::string(script);
    run.order.worker_key = "organisation owner";
    run.order.caller = "caller";
    if (adjust) adjust(run.order);
    boost::asio::co_spawn(io_, last_as_long_as(run), boost::asio::detached);
    return run;
  }

  // Runs the loop until `done`; false after a minute.
  [[nodiscard]] bool until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      io_.run_one_for(std::chrono::seconds(1));
    }
    return true;
  }
  [[nodiscard]] bool ends(const ScriptedRun& run) {
    return until([&run] { return run.is_over(); });
  }
  boost::asio::io_context& io() { return io_; }
  const std::vector<ScriptedRun*>& in_order_of_end() const { return over_; }

 private:
  boost::asio::awaitable<void> last_as_long_as(ScriptedRun& run) {
    run.ended = co_await pool_->run(run.order, run.ticket, run);
    over_.push_back(&run);
    if (run.on_end) run.on_end();
  }

  TestFolder folder_;
  boost::asio::io_context io_{1};
  std::deque<ScriptedRun> runs_;
  std::vector<ScriptedRun*> over_;
  std::optional<Pool> pool_;
  Status started_;
};

}  // namespace fused::testing
