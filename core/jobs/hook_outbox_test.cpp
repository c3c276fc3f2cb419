// Hooks over a real database, with senders of one line of shell.
#include "jobs/hook_outbox.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <future>

#include "base/ids.hpp"
#include "storage/migrations.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

namespace json = boost::json;

struct MovedClock : Clock {
  WallTime wall{std::chrono::seconds(1'800'000'000)};
  WallTime now() const override { return wall; }
};

struct HooksTest : testing::Test {
  TestFolder folder;
  WriteGate gate;
  MovedClock clock;
  std::optional<Database> database;
  std::optional<HookOutbox> outbox;
  std::vector<HookOrder> functions;
  std::mutex mutex;
  std::condition_variable posted;
  std::deque<std::function<void()>> work;  // for the state thread, which is the test's own

  void SetUp() override { init_random(); }
  void TearDown() override { outbox.reset(); }
  void open(const std::string& shell) {
    outbox.reset();
    database.reset();
    work.clear();
    database.emplace(*Database::open(folder / "state.db", gate));
    ASSERT_TRUE(migrate(*database));
    outbox.emplace(
        *database, clock, HookOutboxOptions{{"/bin/sh", "-c", shell}, {"PATH=/usr/bin:/bin"}},
        [this](HookOrder order) { functions.push_back(std::move(order)); },
        [this](std::function<void()> each) {
          const std::lock_guard lock(mutex);
          work.push_back(std::move(each));
          posted.notify_all();
        });
  }
  void end_job(const std::string& id, const std::string& hooks, const std::string& state = "done") {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(clock.wall.time_since_epoch()).count();
    ASSERT_TRUE(database->run(
        "INSERT INTO job (id, organisation, user_id, name, instance_type, priority, plan_json, config_path, "
        "options_json, state, submitted_ms, total_tasks) VALUES "
        "(?,'o','u','density','small',0,'{}','',?,'running',?,1)",
        {id, "{\"region\":\"\",\"hooks\":" + hooks + "}", static_cast<std::int64_t>(ms)}));
    ASSERT_TRUE(
        database->run("UPDATE job SET state=?, ended_ms=? WHERE id=?", {state, static_cast<std::int64_t>(ms), id}));
  }
  void wait_for_answer() {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(posted.wait_for(lock, std::chrono::seconds(20), [this] { return !work.empty(); }));
    const auto each = std::move(work.front());
    work.pop_front();
    lock.unlock();
    each();
  }
  HookRow row(const std::string& id) {
    const auto rows = *HookOutbox::of_job(*database, id);
    return rows.empty() ? HookRow{} : rows.front();
  }
};

constexpr auto kUrl = R"([{"kind":"url","target":"https://example.org/x"}])";
constexpr auto kTakes = R"(read line; printf '%s' "$line" > "$HOME_OF_TEST"; echo '{"error":null}'; cat >/dev/null)";

TEST_F(HooksTest, an_end_is_told_with_the_jobs_record) {
  const std::string file = folder / "told";
  std::string shell = kTakes;
  shell.replace(shell.find("$HOME_OF_TEST"), 13, file);
  open(shell);
  end_job("j", kUrl, "failed");
  outbox->tick();
  wait_for_answer();
  EXPECT_EQ(row("j").state, "done");
  EXPECT_EQ(row("j").tries, 1);
  const json::value told = json::parse(file_text(file));
  EXPECT_EQ(told.at("target").as_string(), "https://example.org/x");
  EXPECT_EQ(told.at("job").at("status").as_string(), "failed");
  EXPECT_EQ(told.at("job").at("job_name").as_string(), "density");
  outbox->tick();
  EXPECT_TRUE(work.empty());
}

TEST_F(HooksTest, a_job_without_hooks_leaves_no_row) {
  open("true");
  end_job("j", "[]");
  outbox->tick();
  EXPECT_EQ(row("j").job_id, "");
}

TEST_F(HooksTest, what_fails_is_tried_again_later_and_given_up_after_a_day) {
  open(R"(read line; echo '{"error":"refused","final":false}'; cat >/dev/null)");
  end_job("j", kUrl);
  outbox->tick();
  wait_for_answer();
  EXPECT_EQ(row("j").state, "waiting");
  EXPECT_EQ(row("j").error, "refused");
  outbox->tick();
  EXPECT_TRUE(work.empty()) << "not before its time";
  clock.wall += std::chrono::seconds(6);
  outbox->tick();
  wait_for_answer();
  EXPECT_EQ(row("j").tries, 2);
  clock.wall += std::chrono::hours(25);
  outbox->tick();
  wait_for_answer();
  EXPECT_EQ(row("j").state, "failed");
}

TEST_F(HooksTest, what_is_refused_for_good_is_not_tried_again) {
  open(R"(read line; echo '{"error":"404","final":true}'; cat >/dev/null)");
  end_job("j", kUrl);
  outbox->tick();
  wait_for_answer();
  EXPECT_EQ(row("j").state, "failed");
}

TEST_F(HooksTest, a_sender_that_dies_is_a_failure_like_another) {
  open("exit 3");
  end_job("j", kUrl);
  outbox->tick();
  wait_for_answer();
  EXPECT_EQ(row("j").state, "waiting");
  EXPECT_NE(row("j").error.find("sender"), std::string::npos);
}

TEST_F(HooksTest, a_restart_in_the_middle_tells_it_after_all) {
  open("sleep 60");
  end_job("j", kUrl);
  outbox->tick();
  open(R"(read line; echo '{"error":null}'; cat >/dev/null)");  // the first life's sender is killed
  EXPECT_EQ(row("j").state, "waiting");
  outbox->tick();
  wait_for_answer();
  EXPECT_EQ(row("j").state, "done");
}

TEST_F(HooksTest, a_function_is_run_under_an_id_that_a_restart_keeps) {
  open("true");
  end_job("j", R"([{"kind":"function","target":"f"}])");
  outbox->tick();
  ASSERT_EQ(functions.size(), 1U);
  const std::string chosen = functions.front().row.function_job_id;
  EXPECT_TRUE(is_uuid(chosen));
  open("true");
  outbox->tick();
  ASSERT_EQ(functions.size(), 2U);
  EXPECT_EQ(functions.back().row.function_job_id, chosen);
  outbox->answered(functions.back().row, {});
  EXPECT_EQ(row("j").state, "done");
}

TEST(JobHook, says_what_it_is_and_what_is_wrong) {
  const auto one = [](const char* text) { return read_hooks(json::value(text)); };
  EXPECT_EQ(one("https://a.example/x")->front().kind, "url");
  EXPECT_EQ(one("mailto:ann@example.org")->front().target, "ann@example.org");
  EXPECT_EQ(one("alarm")->front().kind, "function");
  for (const char* wrong : {"", "mailto:ann", "mailto:a@b,c@d", "ftp://x", "a\nb"}) {
    const auto read = one(wrong);
    ASSERT_FALSE(read) << wrong;
    EXPECT_NE(read.error().message.find("https://"), std::string::npos);
  }
  EXPECT_FALSE(read_hooks(json::value(3)));
  const auto hooks = *read_hooks(json::parse(R"(["alarm","https://a.example"])"));
  const json::value written = hooks_json(hooks);
  EXPECT_EQ(hooks_of_json(&written).size(), 2U);
}

}  // namespace
}  // namespace fused
