// Runs orders on other machines (docs/decisions/0011-many-machines.md): a driver takes attempts, nodes run them and
// tell what happens. The counterpart of Pool::run for tasks of jobs. One thread.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/object.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/completion.hpp"
#include "base/result.hpp"
#include "worker/limits_json.hpp"
#include "worker/own_limits.hpp"
#include "worker/pool.hpp"
#include "worker/run_order.hpp"

namespace fused {

struct RemoteWorkersOptions {
  // A node that was not heard for so long has killed its worker (node.py counts from earlier): what it brings is late.
  std::chrono::milliseconds lease{30'000};
  boost::json::object sandbox;           // "isolation", "network"; the rest is the node's
  std::string mount;                     // folder of each node that is /mount; "": an empty one of its own
  std::vector<std::string> environment;  // of the zygotes, NAME=value
};

struct RemoteFigures {
  std::size_t attempts = 0;
  std::size_t waiting = 0;  // for a driver
  std::uint64_t begun = 0;
  std::uint64_t begun_again = 0;  // by Ray, or for a new driver
  std::uint64_t late = 0;         // told by a start that another has followed
};

class RemoteWorkers {
 public:
  RemoteWorkers(boost::asio::io_context& io, RemoteWorkersOptions options);
  ~RemoteWorkers();

  // To the order's end. A cancelled one ends when its node says so, or was silent for a lease.
  boost::asio::awaitable<Result<RunReply>> run(const RunOrder& order, RunTicket& ticket, RunWatcher& watcher);
  // Is there a sign of life, or nothing yet that could have died.
  bool shares_mount() const { return !options_.mount.empty(); }  // /mount is one file system on all nodes
  bool is_alive(const RunTicket& ticket) const;
  struct Usage {
    std::int64_t memory_bytes = 0;
    double cpu_seconds = 0;
  };
  Usage usage(const RunTicket& ticket) const;  // as the node has last told
  // Where it runs and that it began again, for people.
  std::function<void(const RunTicket& ticket, const std::string& line)> on_note;

  // ---- what the driver asks; `driver` is the name it has given itself
  // The next attempts and those to end, as JSON; waits until there are some. `held`: what it has of earlier answers;
  // the rest was lost on its way and is given again. conflict: another driver has followed.
  boost::asio::awaitable<Result<std::string>> take(std::string driver, std::unordered_set<std::string> held,
                                                   std::chrono::milliseconds patience);
  // Ray could not run it: how and why.
  Status give_up(const std::string& attempt, const std::string& driver, const std::string& why);

  // ---- what nodes tell; `start` is the number that `begin` has given. conflict ("late …"): stop and kill the worker.
  Result<std::int64_t> begin(const std::string& attempt, const std::string& node);
  Result<bool> beat(const std::string& attempt, std::int64_t start, Usage usage);  // true: it is to be ended
  // `piece` counts from 1 for each stream of a start: one that was taken is not taken again; 0: not counted.
  Status output(const std::string& attempt, std::int64_t start, int stream, std::int64_t piece, std::string_view bytes);
  Result<RunLimits> limits(const std::string& attempt, std::int64_t start, const boost::json::object& asked);
  struct Answer {
    std::string header;
    Bytes body;
  };
  // `call`: the function asks something of this server; answered when the answer is there.
  boost::asio::awaitable<Result<Answer>> call(std::string attempt, std::int64_t start, NestedCall call);
  // No process of it is alive.
  Status end(const std::string& attempt, std::int64_t start, const boost::json::object& header, Bytes body);

  RemoteFigures figures() const;
  void stop();  // nobody waits any more

 private:
  struct Attempt;
  using SharedAttempt = std::shared_ptr<Attempt>;
  Result<SharedAttempt> find(const std::string& id, std::int64_t start);
  SharedAttempt of(const RunTicket& ticket) const;
  void follow(const std::string& driver);
  void put_right(const std::unordered_set<std::string>& held);
  void cancel(Attempt& attempt);
  void finish(Attempt& attempt, RunReply reply);
  void wake();
  boost::asio::awaitable<void> look_after();

  boost::asio::io_context& io_;
  RemoteWorkersOptions options_;
  std::unordered_map<std::string, SharedAttempt> attempts_;
  std::unordered_map<const RunTicket*, SharedAttempt> by_ticket_;
  std::deque<std::string> waiting_;
  std::set<std::string> to_end_;
  std::string driver_;
  std::unordered_set<std::string> former_drivers_;
  SteadyTime driver_heard_{};
  std::vector<boost::asio::steady_timer*> takers_;
  boost::asio::steady_timer tick_;
  RemoteFigures counts_;
  bool looking_ = false;
  bool stopped_ = false;
};

}  // namespace fused
