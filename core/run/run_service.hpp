// Runs functions: admit → order → worker → outcome → record. One thread.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "auth/cache_secrets.hpp"
#include "auth/run_tokens.hpp"
#include "logs/run_log.hpp"
#include "run/outcome.hpp"
#include "run/promotion.hpp"
#include "run/run_request.hpp"
#include "worker/pool.hpp"
#include "worker/remote_workers.hpp"

namespace fused {

// A request that a running function makes through its worker's channel; answered by the server's own router.
struct NestedRequest {
  std::string method;
  std::string target;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  Actor actor;                                        // kind run
  std::function<void(std::function<void()>)> on_end;  // registers what to do when the asking run is over
};
struct NestedReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  Bytes body;
};
using NestedHandler = std::function<boost::asio::awaitable<NestedReply>(NestedRequest)>;

struct RunServiceOptions {
  int recursion_max = 5;
  std::int64_t worker_growth_bytes = 1LL << 30;
  std::string execution_environment_id = "default";
  std::string base_url;                                      // of this server, as functions may reach it
  std::optional<CacheSecrets> cache_secrets = std::nullopt;  // without: what functions cache lasts for one worker
};

struct RunFigures {
  std::uint64_t started = 0;
  std::uint64_t ok = 0;
  std::uint64_t failed = 0;
  std::int64_t running = 0;
};

class RunConversation;
// Given the conversation of a run as soon as it has one, to read what the function prints while it runs.
using RunBegun = std::function<void(std::shared_ptr<RunConversation>)>;

class RunService {
 public:
  RunService(boost::asio::io_context& io, Pool& pool, RunLog& log, RunTokens& tokens, RunServiceOptions options);

  void set_nested_handler(NestedHandler handler) { nested_ = std::move(handler); }
  // Gives the digest of interpreter and packages, for the log.
  void set_environment(std::function<std::string()> digest) { environment_ = std::move(digest); }
  // Gives what run `run_id` loaded or ran (functions_json of cached_run_uses.hpp), for the log.
  void set_functions_used(std::function<std::string(const std::string& run_id)> json) {
    functions_used_ = std::move(json);
  }
  // Makes runs that may go on past their wall limit jobs.
  void set_promoter(Promoter promoter) { promoter_ = std::move(promoter); }
  // Tasks of jobs run there instead of in the pool. It outlives this.
  void set_remote(RemoteWorkers* remote) { remote_ = remote; }
  void set_base_url(std::string url) { options_.base_url = std::move(url); }
  // Who stands in front of every run: the result cache. Without one `run` is `execute`.
  using Front =
      std::function<boost::asio::awaitable<Result<RunOutcome>>(RunRequest, std::shared_ptr<RunTicket>, RunBegun)>;
  void set_front(Front front) { front_ = std::move(front); }
  boost::asio::awaitable<Result<RunOutcome>> run(RunRequest request, std::shared_ptr<RunTicket> ticket,
                                                 RunBegun begun = {});
  // To the end, whatever that is, or until it goes on as a job (kPromoted). An Error only where nothing was run: queue
  // full, draining, too deep.
  boost::asio::awaitable<Result<RunOutcome>> execute(RunRequest request, std::shared_ptr<RunTicket> ticket,
                                                     RunBegun begun);
  // Runs a group of calls of a batch, in front of which no cache stands and of which no record is kept here.
  boost::asio::awaitable<Result<RunReply>> execute_group(RunRequest request, std::shared_ptr<RunTicket> ticket,
                                                         std::shared_ptr<CallGroup> group);
  const RunFigures& figures() const { return figures_; }

 private:
  struct Promotable;
  boost::asio::awaitable<Result<RunOutcome>> perform(RunRequest request, std::shared_ptr<RunTicket> ticket,
                                                     RunBegun begun);
  boost::asio::awaitable<Result<RunOutcome>> execute_or_promote(RunRequest request, std::shared_ptr<RunTicket> ticket,
                                                                RunBegun begun);
  boost::asio::awaitable<void> decide(std::shared_ptr<Promotable> run, LongRun long_run);

  boost::asio::io_context& io_;
  Pool& pool_;
  RunLog& log_;
  RunTokens& tokens_;
  RunServiceOptions options_;
  NestedHandler nested_;
  Front front_;
  std::function<std::string()> environment_;
  std::function<std::string(const std::string&)> functions_used_;
  RunFigures figures_;
  RemoteWorkers* remote_ = nullptr;
  Promoter promoter_;
};

}  // namespace fused
