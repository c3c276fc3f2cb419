// The lines of a run that its caller has named, while it lasts and as long as its result is answered again
// (docs/decisions/0012). Whoever may have the result may read them.
#pragma once
#include "http/endpoints/run.hpp"
#include "http/router.hpp"

namespace fused {

// GET /api/v1/runs/{run_id}/logs, and below a share token: Server-Sent Events, `log` (a line), `gap` (how many are not
// kept any more) and, last, `end` (how the run ended). Last-Event-ID goes on behind that line.
struct FollowRunLog {
  RunParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// GET …/lines: the same at one look, {"lines", "next", "left_out", "end"}; `since` and `limit` count lines.
struct GetRunLines {
  RunParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

std::vector<Route> run_log_routes(RunParts& parts);  // `parts` must outlive the rows

}  // namespace fused
