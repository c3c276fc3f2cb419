// Tells whom a job's hooks name that it has ended. Rows of `job_hook` come with the job's end and go on through a
// restart: each is told at least once, tried again with growing pauses for a day, and says in the job how that goes.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "jobs/job_hook.hpp"
#include "storage/database.hpp"

namespace fused {

struct HookRow {
  std::string job_id;
  std::int64_t number = 0;
  JobHook hook;
  std::string state;  // waiting, done, failed
  int tries = 0;
  std::string error;
  std::string function_job_id;  // of a function: the job that runs it; chosen before the first try
};

// A hook and what is told: the job that has ended.
struct HookOrder {
  HookRow row;
  std::string organisation;
  std::string user_id;
  std::string record_json;  // {"job_id", "job_name", "status", "error", …}
};

struct HookAnswer {
  std::string error;   // "": it was told
  bool final = false;  // of an error: not tried again
};

struct HookOutboxOptions {
  std::vector<std::string> sender;  // a program and its arguments: fused/_send_hooks.py
  std::vector<std::string> environment;
};

class HookOutbox {
 public:
  static constexpr std::chrono::hours kTriesFor{24};

  // `run_function` starts the job of a function and answers through `answered`; on the state thread, as all but
  // close(). `on_state` runs its argument there, from any thread.
  HookOutbox(Database& database, const Clock& clock, HookOutboxOptions options,
             std::function<void(HookOrder)> run_function, std::function<void(std::function<void()>)> on_state);
  ~HookOutbox();

  void tick();  // once a second or so
  void answered(const HookRow& row, const HookAnswer& answer);
  static Result<std::vector<HookRow>> of_job(Database& database, const std::string& job_id);
  void close();  // what was not told stays

 private:
  Status expand();
  Result<std::vector<HookOrder>> due();
  void work();
  HookAnswer send(const HookOrder& order);

  Database& database_;
  const Clock& clock_;
  HookOutboxOptions options_;
  std::function<void(HookOrder)> run_function_;
  std::function<void(std::function<void()>)> on_state_;
  std::set<std::pair<std::string, std::int64_t>> asked_;  // state thread: an answer is on its way

  std::mutex mutex_;  // of all below
  std::condition_variable wake_;
  std::deque<HookOrder> waiting_;
  std::set<std::string> busy_users_;  // one is told of at a time: an address that hangs holds up its own user's alone
  std::set<pid_t> children_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace fused
