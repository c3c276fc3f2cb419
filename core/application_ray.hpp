// Tasks of jobs on a Ray cluster, joined to the rest of the server (docs/decisions/0011-many-machines.md).
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/object.hpp>
#include <memory>
#include <optional>

#include "application_parts.hpp"
#include "http/endpoints/attempts.hpp"
#include "storage/line_child.hpp"
#include "storage/state_thread.hpp"

namespace fused {

// What a cluster has for tasks of jobs, as its nodes said at the start.
struct RayCluster {
  int nodes = 0;
  int cores = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t node_memory_bytes = 0;  // of the largest
};

class RayJobs {
 public:
  // With --jobs ray: asks the cluster whether it can run our tasks, which takes some seconds; unavailable says why not
  // and what to do. Without: nothing but the routes, which then refuse.
  static Result<std::unique_ptr<RayJobs>> open(boost::asio::io_context& io, State& state, const Settings& settings,
                                               const PoolOptions& pool);
  RayJobs(boost::asio::io_context& io, const Settings& settings);
  ~RayJobs();

  bool is_on() const { return workers != nullptr; }
  // The server listens: the driver may come.
  void serve(const std::string& base_url);
  boost::json::object health() const;
  void stop();  // and the driver with it, which the destructor waits for

  std::unique_ptr<RemoteWorkers> workers;  // null: tasks run on this machine
  AttemptParts parts;
  RayCluster cluster;

 private:
  Status start_child();
  Result<boost::json::object> ask(const boost::json::object& order, std::chrono::milliseconds patience);
  Status serve_again();  // where the child has ended, or was never told
  boost::asio::awaitable<void> look_after();

  boost::asio::io_context& io_;
  const Settings& settings_;
  std::optional<LineChild> child_;  // of thread_ from serve() on
  boost::json::object serve_;       // the order that makes the child look after the driver
  bool is_serving_ = false;
  boost::asio::steady_timer timer_;
  bool stopped_ = false;
  StateThread thread_;  // asks the child, which may take seconds; the last member: it ends first
};

}  // namespace fused
