// The words of jobs (docs/decisions/0010-jobs.md): a job is what was submitted, a task one item of a step's input, an
// attempt one start of a task.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"

namespace fused {

enum class JobState { pending, running, done, failed, canceled };  // the last three are terminal, once
enum class TaskState { pending, running, done, failed };

// How an attempt ended. `failed` is the function's; `canceled` and `interrupted` (another life of the server) are
// nobody's; the rest is the platform's.
enum class AttemptEnd { done, failed, timeout, out_of_memory, crashed, lost, interrupted, canceled };

inline constexpr std::array<std::string_view, 5> kJobStates{"pending", "running", "done", "failed", "canceled"};
inline constexpr std::array<std::string_view, 4> kTaskStates{"pending", "running", "done", "failed"};
inline constexpr std::array<std::string_view, 8> kAttemptEnds{"done",    "failed", "timeout",     "out_of_memory",
                                                              "crashed", "lost",   "interrupted", "canceled"};

inline std::string_view word(JobState state) { return kJobStates.at(static_cast<std::size_t>(state)); }
inline std::string_view word(TaskState state) { return kTaskStates.at(static_cast<std::size_t>(state)); }
inline std::string_view word(AttemptEnd end) { return kAttemptEnds.at(static_cast<std::size_t>(end)); }
inline bool is_terminal(JobState state) { return state > JobState::running; }
inline bool is_platform_failure(AttemptEnd end) { return end > AttemptEnd::failed && end < AttemptEnd::interrupted; }

// The client's `job_status` (client-protocol.md §2.3): "Pending", "Running", "Done", "Failed", "Canceled".
inline std::string client_word(JobState state) {
  std::string text(word(state));
  text.front() = static_cast<char>(text.front() - 'a' + 'A');
  return text;
}

template <class State, std::size_t n>
std::optional<State> state_of(std::string_view text, const std::array<std::string_view, n>& words) {
  for (std::size_t i = 0; i < n; ++i)
    if (words[i] == text) return static_cast<State>(i);
  return std::nullopt;
}

// What one task holds of the machine while its process is there.
struct Share {
  int cores = 1;
  std::int64_t memory_bytes = 0;
};

struct StepPlan {
  std::int64_t tasks = 1;
  int parallel_max = 0;             // n_processes of the step; 0: only the job's own
  bool ignore_chunk_error = false;  // a failed task does not fail the job
};

struct RetryRule {
  int function_max = 0;  // failures of the function that are tried again, per task
  int platform_max = 2;  // the platform's
};

// What the scheduler must know of a job; written once, when it is submitted.
struct JobSpec {
  std::string id;
  std::string organisation;
  std::string user_id;
  std::string name;
  std::string instance_type;
  int priority = 0;  // among the jobs of the same user; it takes nothing from others
  std::vector<StepPlan> steps;
  Share task_share;
  int parallel_max = 1;  // tasks at once
  RetryRule retries;
  std::chrono::milliseconds run_max{0};  // from its first start to its end; 0: no limit
  std::string config_path;
  std::string options_json = "{}";
  WallTime submitted_at{};

  std::int64_t total_tasks() const {
    std::int64_t total = 0;
    for (const StepPlan& step : steps) total += step.tasks;
    return total;
  }
};

// The server's life in the upper 31 bits, a serial number in the lower 32: never given twice.
using AttemptId = std::int64_t;
inline std::int64_t epoch_of(AttemptId id) { return id >> 32; }

}  // namespace fused
