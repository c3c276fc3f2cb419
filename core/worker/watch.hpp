// Memory, processes and scratch of running workers, looked at every 50 ms on a thread of its own (reading /proc of a
// large process takes milliseconds). The pool begins with a run when it has lasted a tick.
#pragma once
#include <sys/types.h>

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/settings.hpp"
#include "worker/run_order.hpp"

namespace fused {

struct Excess {
  int worker = 0;
  std::uint64_t run = 0;  // the number given to `begin`
  RunEnd end = RunEnd::limit_exceeded;
  std::string message;
  std::int64_t memory_bytes = 0;
};

class Watch {
 public:
  // `report` is called on the watch thread, at most once per begun run.
  explicit Watch(std::function<void(Excess)> report);
  ~Watch();

  // `shared`: what the tasks of a job share; counted with scratch. "": nothing.
  void begin(int worker, std::uint64_t run, pid_t pid, std::filesystem::path scratch, const RunLimits& limits,
             std::filesystem::path shared = {});
  void lower(int worker, const RunLimits& limits);  // of the run that is being watched, if one is
  std::int64_t memory_now(int worker);              // at the last look; 0 while it is not watched
  // Ends the watching and returns the most memory seen.
  std::int64_t end(int worker);

 private:
  struct Watched;
  void look();
  std::optional<Excess> judge(Watched& watched) const;

  std::function<void(Excess)> report_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::unordered_map<int, std::shared_ptr<Watched>> watched_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace fused
