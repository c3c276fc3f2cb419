// Dropping cached results: of a function, or of one of its tiles.
//   DELETE /server/v1/realtime-shared/{client_id}/udf-cache/by-id/{id}/delete?z&x&y   (the official client)
//   DELETE /api/v1/functions/{id}/cache?z&x&y
// All of z, x and y, or none: else 422.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <string>
#include <vector>

#include "functions/function_store.hpp"
#include "http/message.hpp"
#include "http/router.hpp"
#include "run/cached_run.hpp"

namespace fused {

struct CacheParts {
  CachedRuns* cached = nullptr;
  FunctionStore* functions = nullptr;
};

// Of the id of a saved function, or of the name of one of the caller's own (also one that was never saved).
struct ForgetResults {
  CacheParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

std::vector<Route> cache_routes(CacheParts& parts);  // `parts` must outlive the rows

}  // namespace fused
