// A run that has reached its wall limit and goes on as a job (docs/decisions/0012, B): what the run hands to who makes
// jobs, and what it is told.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/completion.hpp"
#include "run/outcome.hpp"
#include "run/run_request.hpp"

namespace fused {

class RunConversation;
class RunTicket;

struct LongRun {
  RunRequest request;
  std::shared_ptr<RunTicket> ticket;
  std::shared_ptr<RunConversation> conversation;
  RunLimits limits;  // that its worker has
  // How it ends, however long that takes; for one who waits.
  std::shared_ptr<Completion<Result<RunOutcome>>> ended;
};

struct PromotedJob {
  std::string job_id;
  std::int64_t wall_ms = 0;  // the limit from now on
};

// On disk when it succeeds. The error says why the run becomes no job.
using Promoter = std::function<boost::asio::awaitable<Result<PromotedJob>>(LongRun)>;

// What a caller who did not begin the run, but waits for it, is told: the job where it is his own and he takes one,
// else that the run ran into its limit.
RunOutcome promoted_for(const RunOutcome& promoted, const RunRequest& joined);

}  // namespace fused
