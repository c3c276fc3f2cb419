// A log in a folder of its own, with a clock that the test moves.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/ids.hpp"
#include "logs/run_log.hpp"
#include "logs/run_path.hpp"

namespace fused::logs_test {

namespace fs = std::filesystem;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

struct TestClock : Clock {
  std::atomic<std::int64_t> wall_us;
  explicit TestClock(std::int64_t seconds_since_1970) : wall_us(seconds_since_1970 * 1'000'000) {}
  WallTime now() const override { return WallTime(std::chrono::microseconds(wall_us.load())); }
  void move(std::chrono::microseconds by) { wall_us += by.count(); }
};

constexpr std::int64_t kMorning = 1'795'256'130;  // 2026-11-21 10:15:30 UTC

inline std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class RunLogTest : public testing::Test {
 protected:
  void SetUp() override {
    init_random();
    root = fs::temp_directory_path() / ("fused-logs-" + new_uuid());
    fs::create_directories(root);
  }
  void TearDown() override {
    log.reset();
    fs::remove_all(root);
  }

  RunLogOptions options() const {
    RunLogOptions chosen;
    chosen.mount = root / "mount";
    chosen.journal = root / "journal";
    chosen.gather = milliseconds(1);
    return chosen;
  }
  void open(RunLogOptions chosen) {
    auto opened = RunLog::open(std::move(chosen), clock);
    ASSERT_TRUE(opened) << opened.error().message;
    log = std::move(*opened);
  }
  RunRecord record(const std::string& id) const {
    RunRecord run;
    run.request_id = id;
    run.user_email = "user@example.com";
    run.udf_name = "cities";
    run.collection_name = "default";
    run.started = clock.now();
    run.execution_time_seconds = 0.25;
    run.outcome = "ok";
    run.parameters_json = R"({"n":3})";
    run.entrypoint = "udf";
    run.format = "json";
    run.result_bytes = 12;
    run.code = std::make_shared<const std::string>("@fused.udf\ndef udf(n: int):\n    return n\n");
    return run;
  }
  void append(const RunRecord& run) {
    const auto status = log->append(run);
    ASSERT_TRUE(status) << status.error().message;
  }
  void wait() { ASSERT_TRUE(log->wait_until_written(seconds(20))); }
  // The path that functions see, outside.
  fs::path folder(const RunRecord& run) const { return root / RunLog::folder_of(run).substr(1); }
  fs::path logs() const { return root / "mount/fused-system/logs"; }
  // As the seed's glob: {date}/*/*/*, hidden names left out.
  std::vector<fs::path> folders() const {
    std::vector<fs::path> found;
    if (!fs::exists(logs())) return found;
    for (fs::recursive_directory_iterator at(logs()), end; at != end; ++at) {
      if (at->path().filename().string().starts_with("."))
        at.disable_recursion_pending();
      else if (at.depth() == 3)
        found.push_back(at->path()), at.disable_recursion_pending();
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  fs::path root;
  TestClock clock{kMorning};
  std::unique_ptr<RunLog> log;
};

}  // namespace fused::logs_test
