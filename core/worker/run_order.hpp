// What a worker is asked to run, and how that ended.
#pragma once
#include <boost/json/object.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/settings.hpp"
#include "worker/frames.hpp"

namespace fused {

struct CallGroup;  // call_group.hpp

struct RunOrder {
  std::string function_hash;              // a worker that has compiled it gets `udf_known`, another `udf_full`
  std::string udf_known;                  // JSON object
  std::function<std::string()> udf_full;  // JSON object with "code" and "headers"; made only where a worker needs it
  std::string rest;                       // the other members of the run frame: "\"run_id\":…,\"query\":…"
  std::string worker_key;                 // organisation and owner of the code: a warm worker serves one
  std::string caller;                     // who shares the queue fairly
  bool fresh = false;                     // a worker that has run nothing and is thrown away
  bool nested = false;                    // asked by a running function: never refused by the queue's length
  // A task of a job: a worker of its own beside the slots, forked with these limits and ended with it. The scheduler of
  // jobs has given it a share of the machine; no queue, and `run` returns when no process of it is left.
  std::optional<RunLimits> beside;
  bool is_promoted =
      false;  // such a task began as a run that its wall limit made a job: its function's own holds no more
  std::filesystem::path job_folder = {};       // of such a task: what the tasks of its job share; "": nothing
  std::shared_ptr<CallGroup> group = nullptr;  // where the run is a group of calls
};

// Upon it a worker's fault handler writes the Python lines of all its threads to stderr: SIGRTMIN + 7 (worker/setup.py
// names the same number).
inline constexpr int kWhereAreYouSignal = 34 + 7;

// How a run ended on the server's side; `reported` means that the worker's own result frame says.
enum class RunEnd { reported, timeout, out_of_memory, limit_exceeded, crashed, no_result, cancelled };

struct RunReply {
  RunEnd end = RunEnd::reported;
  boost::json::object header;  // of the result frame
  Bytes body;
  std::string message;  // for any other end: what happened, with figures
  int signal = 0;       // that ended the worker, 0: none
  int exit_code = -1;
  std::int64_t peak_memory_bytes = 0;
  RunLimits limits;         // that were in force
  std::string limits_note;  // where the function asked for more than the server gives
  std::string last_lines;   // where the function was when it was ended, as far as its process said
};

// A nested request of the running function, answered by `call_reply`.
struct NestedCall {
  std::uint64_t call = 0;
  boost::json::object header;  // "method", "target", "headers"
  Bytes body;
};

// Who listens while a run lasts. All calls come on the server's thread.
struct RunWatcher {
  virtual ~RunWatcher() = default;
  virtual void started(int worker, std::int64_t pid) = 0;
  virtual void output(int stream, std::string_view bytes) = 0;  // 1: stdout, 2: stderr
  // The function has asked for less than the server's limits; called at most once, before the function is.
  virtual void limited(const RunLimits&) {}
  // Since when the wall limit counts, where that is later than the order's start: for a group of calls.
  virtual SteadyTime counts_since() { return {}; }
  virtual void ending() {}                           // the run is about to be ended for a limit
  virtual void asked(const boost::json::object&) {}  // the frame `limits` as it came
  // It has reached its wall limit. True: it goes on until the ticket's `leave_slot` or `time_out` says more.
  virtual bool wall_reached(const RunLimits&) { return false; }
  // Must call `answer(header, body)` once, later or at once; the run may have ended by then.
  virtual void call(NestedCall call, std::function<void(std::string header, std::string_view body)> answer) = 0;
};

}  // namespace fused
