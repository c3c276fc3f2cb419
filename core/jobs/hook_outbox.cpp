#include "jobs/hook_outbox.hpp"

#include <signal.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/ids.hpp"
#include "base/json_parse.hpp"
#include "base/text.hpp"
#include "storage/line_child.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr int kAtOnce = 32;
constexpr std::size_t kAskedMax = 10'000;  // in memory; what else is due stays in its table
constexpr std::size_t kSenders = 4;
constexpr auto kPatience = std::chrono::seconds(60);
constexpr auto kLeavePatience = std::chrono::seconds(2);
constexpr auto kFirstPause = std::chrono::seconds(5);
constexpr auto kLongestPause = std::chrono::hours(1);
constexpr std::size_t kErrorBytesMax = 500;

std::int64_t ms(WallTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}
json::value time_or_null(const Row& row, int column) {
  if (row.is_null(column)) return nullptr;
  return json::value(format_utc(WallTime(std::chrono::milliseconds(row.integer(column)))));
}

HookRow row_of(const Row& row) {
  return {row.text(0), row.integer(1), {row.text(2), row.text(3)}, row.text(4), static_cast<int>(row.integer(5)),
          row.text(6), row.text(7)};
}

}  // namespace

HookOutbox::HookOutbox(Database& database, const Clock& clock, HookOutboxOptions options,
                       std::function<void(HookOrder)> run_function, std::function<void(std::function<void()>)> on_state)
    : database_(database),
      clock_(clock),
      options_(std::move(options)),
      run_function_(std::move(run_function)),
      on_state_(std::move(on_state)) {
  for (std::size_t i = 0; i < kSenders; ++i) threads_.emplace_back([this] { work(); });
}

HookOutbox::~HookOutbox() { close(); }

void HookOutbox::close() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    for (const pid_t child : children_) ::kill(child, SIGKILL);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_)
    if (thread.joinable()) thread.join();
}

void HookOutbox::tick() {
  if (const Status expanded = expand(); !expanded)
    spdlog::warn("ends of jobs are told later: {}", expanded.error().message);
  if (asked_.size() >= kAskedMax) return;
  auto orders = due();
  if (!orders) {
    spdlog::warn("ends of jobs are told later: {}", orders.error().message);
    return;
  }
  for (HookOrder& order : *orders) {
    if (!asked_.insert({order.row.job_id, order.row.number}).second) continue;
    if (order.row.hook.kind == "function") {
      run_function_(std::move(order));
      continue;
    }
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(order));
    wake_.notify_one();
  }
}

// The row that the trigger made becomes one for each hook.
Status HookOutbox::expand() {
  std::vector<std::pair<std::string, std::string>> ended;  // id and options
  FUSED_CHECK(
      database_.query("SELECT h.job_id, j.options_json FROM job_hook h JOIN job j ON j.id = h.job_id "
                      "WHERE h.state='waiting' AND h.number=-1 LIMIT 100",
                      {}, [&](const Row& row) { ended.emplace_back(row.text(0), row.text(1)); }));
  if (ended.empty()) return {};
  return database_.transaction([&]() -> Status {
    for (const auto& [job_id, options] : ended) {
      const auto parsed = parse_json(options);
      const auto* object = parsed ? parsed->if_object() : nullptr;
      const auto hooks = hooks_of_json(object == nullptr ? nullptr : object->if_contains("hooks"));
      std::int64_t number = 0;
      for (const JobHook& hook : hooks)
        FUSED_CHECK(database_.run(
            "INSERT OR IGNORE INTO job_hook (job_id, number, kind, target, state, function_job_id) "
            "VALUES (?,?,?,?,'waiting',?)",
            {job_id, number++, hook.kind, hook.target, hook.kind == "function" ? new_uuid() : std::string()}));
      FUSED_CHECK(database_.run("DELETE FROM job_hook WHERE job_id=? AND number=-1", {job_id}));
    }
    return {};
  });
}

Result<std::vector<HookOrder>> HookOutbox::due() {
  std::vector<HookOrder> orders;
  FUSED_CHECK(database_.query(
      "SELECT h.job_id, h.number, h.kind, h.target, h.state, h.tries, h.error, h.function_job_id, j.organisation, "
      "j.user_id, j.name, j.state, j.error, j.total_tasks, j.finished_tasks, j.submitted_ms, j.started_ms, j.ended_ms "
      "FROM job_hook h JOIN job j ON j.id = h.job_id "
      "WHERE h.state='waiting' AND h.next_ms <= ? AND h.number >= 0 ORDER BY h.next_ms LIMIT ?",
      {ms(clock_.now()), kAtOnce + static_cast<int>(asked_.size())}, [&](const Row& row) {
        const json::object record{{"job_id", row.text(0)},
                                  {"job_name", row.text(10)},
                                  {"status", row.text(11)},
                                  {"error", row.text(12).empty() ? json::value(nullptr) : json::value(row.text(12))},
                                  {"total_tasks", row.integer(13)},
                                  {"finished_tasks", row.integer(14)},
                                  {"submitted", time_or_null(row, 15)},
                                  {"started", time_or_null(row, 16)},
                                  {"ended", time_or_null(row, 17)}};
        orders.push_back({row_of(row), row.text(8), row.text(9), json::serialize(record)});
      }));
  return orders;
}

void HookOutbox::answered(const HookRow& row, const HookAnswer& answer) {
  asked_.erase({row.job_id, row.number});
  const int tries = row.tries + 1;
  const std::string error = valid_utf8(answer.error.substr(0, kErrorBytesMax));
  Result<std::int64_t> kept = 0;
  if (error.empty()) {
    kept = database_.run("UPDATE job_hook SET state='done', tries=?, error='' WHERE job_id=? AND number=?",
                         {tries, row.job_id, row.number});
  } else {
    const auto doubled = kFirstPause * (std::int64_t{1} << std::min(tries - 1, 10));
    const auto pause = std::min<std::chrono::seconds>(doubled, kLongestPause);
    const std::int64_t now = ms(clock_.now());
    const std::int64_t next = now + std::chrono::milliseconds(pause).count();
    // The job's end may be unknown where its row was removed meanwhile; then nothing is changed.
    kept = database_.run(
        "UPDATE job_hook SET tries=?1, error=?2, next_ms=?3, state=CASE WHEN ?4 OR EXISTS (SELECT 1 FROM job "
        "WHERE id=?5 AND ended_ms < ?6) THEN 'failed' ELSE 'waiting' END WHERE job_id=?5 AND number=?7",
        {tries, error, next, answer.final, row.job_id, now - std::chrono::milliseconds(kTriesFor).count(), row.number});
    spdlog::warn("{} is not told that job {} has ended: {}", printable(row.hook.target), row.job_id, printable(error));
  }
  if (!kept) spdlog::warn("a hook of job {} is told again: {}", row.job_id, kept.error().message);
}

Result<std::vector<HookRow>> HookOutbox::of_job(Database& database, const std::string& job_id) {
  std::vector<HookRow> rows;
  FUSED_CHECK(
      database.query("SELECT job_id, number, kind, target, state, tries, error, function_job_id FROM job_hook "
                     "WHERE job_id=? AND number >= 0 ORDER BY number",
                     {job_id}, [&](const Row& row) { rows.push_back(row_of(row)); }));
  return rows;
}

void HookOutbox::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    auto next = waiting_.end();
    wake_.wait(lock, [&] {
      next = std::ranges::find_if(waiting_, [this](const auto& order) { return !busy_users_.contains(order.user_id); });
      return stop_ || next != waiting_.end();
    });
    if (stop_) return;
    const HookOrder order = std::move(*next);
    waiting_.erase(next);
    busy_users_.insert(order.user_id);
    lock.unlock();
    HookAnswer answer = send(order);
    lock.lock();
    busy_users_.erase(order.user_id);
    wake_.notify_all();
    if (stop_) return;  // it is told again at the next start
    on_state_([this, row = order.row, answer = std::move(answer)] { answered(row, answer); });
  }
}

// A process for each: it is rare, and one that hangs on a server's answer must not hold what follows for long.
HookAnswer HookOutbox::send(const HookOrder& order) {
  auto child = LineChild::start(options_.sender, options_.environment);
  if (!child) return {child.error().message, false};
  {
    const std::lock_guard lock(mutex_);
    children_.insert(child->pid());
    if (stop_) ::kill(child->pid(), SIGKILL);
  }
  const json::object line{{"kind", order.row.hook.kind},
                          {"target", order.row.hook.target},
                          {"key", order.row.job_id + '/' + std::to_string(order.row.number)},
                          {"job", json::parse(order.record_json)}};
  const std::string said = child->ask(json::serialize(line), kPatience);
  {
    const std::lock_guard lock(mutex_);
    children_.erase(child->pid());
  }
  boost::system::error_code wrong;
  const json::value value = json::parse(said, wrong);
  const auto* object = wrong ? nullptr : value.if_object();
  const auto* error = object == nullptr ? nullptr : object->if_contains("error");
  if (error == nullptr) return {"the sender ended, or gave no answer within 60 s", false};
  child->let_go(kLeavePatience);
  const auto* final = object->if_contains("final");
  return {error->is_string() ? std::string(error->get_string()) : std::string(),
          final != nullptr && final->is_bool() && final->get_bool()};
}

}  // namespace fused
