// Attempts of jobs on other machines: what the driver of a cluster and its nodes ask and tell
// (docs/decisions/0011-many-machines.md). A header and a body in one are packed: the header's bytes as a number of four
// bytes (little endian), the header (JSON), the body.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <vector>

#include "http/message.hpp"
#include "http/router.hpp"
#include "worker/remote_workers.hpp"

namespace fused {

struct AttemptParts {
  RemoteWorkers* workers = nullptr;  // null: this server runs its jobs itself
  std::int64_t result_bytes_max = 512LL << 20;
};

struct TakeAttempts {
  AttemptParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct BeginAttempt {
  AttemptParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct BeatAttempt {
  AttemptParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct AttemptOutput {
  AttemptParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct AttemptLimits {
  AttemptParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// What the function asks of this server.
struct AttemptCall {
  AttemptParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// The node's, with its `start`; without one it is the driver's: the cluster could not run it.
struct EndAttempt {
  AttemptParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

std::vector<Route> attempt_routes(AttemptParts& parts);  // `parts` must outlive the rows

}  // namespace fused
