// Is the server up, in what state, and what has it counted.
#pragma once
#include <boost/asio/awaitable.hpp>

#include "http/message.hpp"
#include "http/parts.hpp"

namespace fused {

// GET /health and /server/v1/health: status and version for anybody; with a token all that Parts::health knows.
struct Health {
  Parts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// GET /metrics: the Prometheus text format, of Parts::metrics.
struct Metrics {
  Parts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

}  // namespace fused
