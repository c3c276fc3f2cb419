// From a request to its reply, free of sockets: Host, origin, route, access, handler, ETag, compression, log line.
// The worker's channel enters here too, so that a nested call meets the same rows and rights as one over HTTP.
#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <optional>

#include "http/access.hpp"
#include "http/http_metrics.hpp"
#include "http/parts.hpp"
#include "http/router.hpp"

namespace fused {

class Dispatcher {
 public:
  // `parts` must outlive it. Parts::metrics may be null (tests).
  Dispatcher(Parts& parts, std::vector<Route> routes);
  ~Dispatcher();

  // What is known once the header has been read.
  struct Admission {
    const Route* route = nullptr;  // null: `refusal` is set
    std::size_t route_index = 0;
    Cors cors;
    std::optional<Reply> refusal;  // an error, or the answer to OPTIONS
  };
  // Fills path, query, path_values, request_id and actor. Nothing of the body has been read yet, so that nobody can
  // make us hold one without the right to.
  Admission admit(Request& request);
  // The reply as it is to be sent, for a request that has been admitted; errors of the handler are replies too.
  boost::asio::awaitable<Reply> answer(Request& request, Admission& admission);
  // A request that came through a worker's channel: `request.actor` is set and is not changed; no Host, origin,
  // compression or log line of its own.
  boost::asio::awaitable<Reply> answer_call(Request& request);
  // After the reply has been handed over: metrics and the access line.
  void record(const Request& request, const Admission& admission, int status, std::size_t bytes_sent, double seconds);

  const Router& router() const { return router_; }
  const Parts& parts() const { return parts_; }
  HttpMetrics* metrics() { return metrics_.get(); }

 private:
  Admission refuse(const Request& request, Admission admission, const Error& error) const;
  void name_request(Request& request) const;
  Result<void> route(Request& request, std::string_view raw_path, Admission& admission) const;
  boost::asio::awaitable<Reply> call(const Route& route, Request& request);
  boost::asio::awaitable<void> compress_reply(const Request& request, Reply& reply);
  bool make_conditional(const Request& request, Reply& reply) const;

  Parts& parts_;
  Router router_;
  std::unique_ptr<HttpMetrics> metrics_;
  std::string good_host_;                             // the last that passed, for the next request is of it again
  std::unique_ptr<boost::asio::thread_pool> helper_;  // one thread, for bodies too large to compress in place
};

}  // namespace fused
