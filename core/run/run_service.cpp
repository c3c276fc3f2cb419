#include "run/run_service.hpp"

#include <spdlog/spdlog.h>

#include <cmath>

#include "logs/run_path.hpp"
#include "run/cached_run_uses.hpp"
#include "run/run_conversation.hpp"
#include "run/run_order_json.hpp"
#include "run/run_report.hpp"

namespace fused {
namespace asio = boost::asio;

RunService::RunService(asio::io_context& io, Pool& pool, RunLog& log, RunTokens& tokens, RunServiceOptions options)
    : io_(io), pool_(pool), log_(log), tokens_(tokens), options_(std::move(options)) {}

asio::awaitable<Result<RunOutcome>> RunService::run(RunRequest request, std::shared_ptr<RunTicket> ticket,
                                                    RunBegun begun) {
  // Too deep is refused also where an answer lies ready: what is allowed does not depend on what was asked before.
  if (front_ && request.recursion <= options_.recursion_max)
    return front_(std::move(request), std::move(ticket), std::move(begun));
  return execute(std::move(request), std::move(ticket), std::move(begun));
}

asio::awaitable<Result<RunOutcome>> RunService::execute(RunRequest request, std::shared_ptr<RunTicket> ticket,
                                                        RunBegun begun) {
  // Admit.
  if (request.recursion > options_.recursion_max)
    co_return fail(ErrorKind::unprocessable, "functions call each other " + std::to_string(request.recursion) +
                                                 " deep; the limit is " + std::to_string(options_.recursion_max));
  if (promoter_ && request.on_timeout != OnTimeout::error)
    co_return co_await execute_or_promote(std::move(request), std::move(ticket), std::move(begun));
  co_return co_await perform(std::move(request), std::move(ticket), std::move(begun));
}

asio::awaitable<Result<RunOutcome>> RunService::perform(RunRequest request, std::shared_ptr<RunTicket> ticket,
                                                        RunBegun begun) {
  const WallTime started = std::chrono::system_clock::now();
  const SteadyTime begin = std::chrono::steady_clock::now();
  ++figures_.started;
  ++figures_.running;

  // Order, and wait for its end.
  const std::string run_token = tokens_.begin(run_actor(request));
  const std::string cache_secret =
      options_.cache_secrets ? options_.cache_secrets->of(request.function->organisation, request.function->owner_id)
                             : std::string();
  const RunOrder order = make_run_order(request, {run_token, options_.base_url, options_.execution_environment_id,
                                                  options_.worker_growth_bytes, cache_secret});
  const auto conversation = std::make_shared<RunConversation>(io_, request, ticket, nested_);
  conversation->log_dir = RunPath::of(started, request.actor.email, request.folder_id).as_seen_by_functions();
  if (begun) begun(conversation);
  Result<RunReply> reply = RunReply{};
  if (remote_ && order.beside)
    reply = co_await remote_->run(order, *ticket, *conversation);
  else
    reply = co_await pool_.run(order, *ticket, *conversation);
  conversation->over();
  tokens_.end(run_token);
  --figures_.running;
  if (!reply) {
    ++figures_.failed;
    co_return std::unexpected(reply.error());
  }

  // Tell it, and keep it.
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const RunUses uses = uses_of_result(reply->header);
  RunReport report = make_report(request, *reply, conversation->out, conversation->err, started, seconds);
  ++(report.outcome.ok() ? figures_.ok : figures_.failed);
  report.record.files_json = files_json(uses);
  if (functions_used_) report.record.functions_json = functions_used_(request.run_id);
  if (environment_) report.record.environment = environment_();
  if (const auto kept = log_.append(report.record); !kept)
    spdlog::error("run {} is not in the log: {}", request.folder_id, kept.error().message);
  report.outcome.uses = std::make_shared<const RunUses>(uses);
  co_return std::move(report.outcome);
}

}  // namespace fused
