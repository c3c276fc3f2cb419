// Many calls of one function as one batch (docs/decisions/0009-batches.md, docs/reference/submit.md "On the wire").
#pragma once
#include <boost/asio/awaitable.hpp>
#include <vector>

#include "batch/batch_service.hpp"
#include "http/endpoints/run.hpp"
#include "http/router.hpp"

namespace fused {

struct BatchParts {
  BatchService* batches = nullptr;
  RunParts* run = nullptr;
};

// POST /api/v1/batches {"step_config", "format", "max_workers", "max_retry", "retries_failures"}.
struct OpenBatch {
  BatchParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// POST …/{batch_id}/calls: a piece (batch/call_arguments.hpp).
struct TakeCalls {
  BatchParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET …/{batch_id}/results?after=&wait_ms=: a chunk (batch/batch_results.hpp), or nothing; x-fused-batch says how far.
struct BatchResultsOf {
  BatchParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// POST …/{batch_id}/cancel: all, or {"calls": [index, …]}.
struct CancelBatch {
  BatchParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct CloseBatch {
  BatchParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

std::vector<Route> batch_routes(BatchParts& parts);  // `parts` must outlive the rows

}  // namespace fused
