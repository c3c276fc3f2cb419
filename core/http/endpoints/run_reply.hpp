// From a run's outcome to its reply.
#pragma once
#include "http/message.hpp"
#include "run/outcome.hpp"

namespace fused {

enum class ReplyForm {
  direct,   // each outcome has its own status
  polling,  // start and get: the official client reads x-fused-metadata from 200 and 422 only
  tile,     // as direct, with caching and empty answers as map clients expect
};

Reply reply_of(const Result<RunOutcome>& outcome, ReplyForm form, const Request& request);
// 202: still running; ask again. `log_dir`: where its log folder will be, "" when it was not begun yet.
Reply still_running(const std::string& run_id, std::string_view log_dir);

}  // namespace fused
