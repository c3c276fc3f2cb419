// stderr.log of a run that failed: what it wrote to stderr, the traceback, and what the server knows of its end
// (design: "After a timeout, out-of-memory or crash, stderr.log holds a post-mortem: signal, limit, peak memory, last
// Python line").
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "logs/streams.hpp"

namespace fused {

struct PostMortem {
  std::string outcome;  // "timeout", … (ARCHITECTURE.md, "Outcomes")
  std::string limit;    // the limit that ended it, with value and unit: "wall time of 120 s"; "" when none did
  int signal = 0;       // that ended the worker, 0 when none did
  std::optional<int> exit_status;      // of a worker that ended by itself
  std::int64_t peak_memory_bytes = 0;  // 0: not known
  double execution_time_seconds = 0;
  std::string error_class;  // of the user's exception
  std::string error_message;
  std::string traceback;  // of the user's exception, or the stack seen when the run was ended; may be ""
  std::string last_line;  // 'File "udf.py", line 7, in udf': where Python was; "" when not known
};

// 9 → "SIGKILL (9)".
std::string signal_name(int number);

// The text of stderr.log; never "". `out` is what stands in stdout.log: the post-mortem says how much and how it ends.
std::string failure_stderr(const CapturedStream& out, const CapturedStream& err, const PostMortem& end);

}  // namespace fused
