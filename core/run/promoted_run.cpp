// Of RunService: a run that may go on as a job. Its caller is answered when it has ended or has become one.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "run/promotion.hpp"
#include "run/run_conversation.hpp"

namespace fused {
namespace asio = boost::asio;
namespace {

std::string seconds_text(std::int64_t milliseconds) {
  std::string text = std::to_string(milliseconds / 1000);
  if (milliseconds % 1000) text += '.' + std::to_string(1000 + milliseconds % 1000).substr(1);
  return text;
}

std::string ran_longer(std::int64_t wall_ms) {
  return "the function ran longer than its limit of " + seconds_text(wall_ms) + " s";
}

RunOutcome promoted_outcome(const RunRequest& request, const PromotedJob& job, std::int64_t wall_ms,
                            std::shared_ptr<const bool> goes_on) {
  RunOutcome outcome;
  outcome.outcome = kPromoted;
  outcome.status = 202;
  outcome.run_id = request.run_id;
  outcome.job_id = job.job_id;
  outcome.job_user_id = request.actor.user_id;
  outcome.error_message = ran_longer(wall_ms) + " and goes on as job " + job.job_id;
  outcome.execution_seconds = static_cast<double>(wall_ms) / 1e3;
  outcome.goes_on = std::move(goes_on);
  return outcome;
}

}  // namespace

struct RunService::Promotable {
  Completion<Result<RunOutcome>> answer;
  std::shared_ptr<Completion<Result<RunOutcome>>> ended = std::make_shared<Completion<Result<RunOutcome>>>();
  std::shared_ptr<bool> goes_on = std::make_shared<bool>(true);
  bool deciding = false;
  Completion<bool> decided;  // true: it is a job
};

asio::awaitable<Result<RunOutcome>> RunService::execute_or_promote(RunRequest request,
                                                                   std::shared_ptr<RunTicket> ticket, RunBegun begun) {
  const auto run = std::make_shared<Promotable>();
  RunBegun both = [this, run, request, ticket,
                   begun = std::move(begun)](const std::shared_ptr<RunConversation>& conversation) {
    conversation->on_wall = [this, run, request, ticket,
                             weak = std::weak_ptr(conversation)](const RunLimits& limits) -> bool {
      const auto of_run = weak.lock();
      const bool asked = request.on_timeout == OnTimeout::job || (of_run && of_run->asks_for_job());
      if (!asked || run->deciding) return run->deciding;
      run->deciding = true;
      ticket->hold();
      asio::co_spawn(io_, decide(run, LongRun{request, ticket, of_run, limits, run->ended}), asio::detached);
      return true;
    };
    if (begun) begun(conversation);
  };
  auto whole = [this, run, request, ticket, both]() -> asio::awaitable<void> {
    auto outcome = co_await perform(request, ticket, both);
    const bool is_job = run->deciding && co_await run->decided.wait();
    *run->goes_on = false;
    (is_job ? *run->ended : run->answer).set(std::move(outcome));
  };
  asio::co_spawn(io_, std::move(whole), asio::detached);
  auto outcome = co_await run->answer.wait();
  co_return outcome;
}

asio::awaitable<void> RunService::decide(std::shared_ptr<Promotable> run, LongRun long_run) {
  const RunRequest request = long_run.request;
  const auto ticket = long_run.ticket;
  const auto conversation = long_run.conversation;
  const std::int64_t wall_ms = long_run.limits.wall_ms;
  auto job = co_await promoter_(std::move(long_run));
  if (!job) {
    ticket->time_out(ran_longer(wall_ms) + "; it was not made a job: " + job.error().message);
    run->decided.set(false);
    co_return;
  }
  ticket->leave_slot(job->wall_ms);
  run->answer.set(promoted_outcome(request, *job, wall_ms, run->goes_on));
  run->decided.set(true);
}

RunOutcome promoted_for(const RunOutcome& promoted, const RunRequest& joined) {
  const bool is_his = joined.actor.kind == ActorKind::user && joined.actor.user_id == promoted.job_user_id;
  if (is_his && joined.on_timeout != OnTimeout::error) return promoted;
  RunOutcome outcome;
  const OutcomeRow& row = outcome_row("timeout");
  outcome.outcome = std::string(row.outcome);
  outcome.status = row.status;
  outcome.run_id = joined.run_id;
  outcome.error_class = "TimeoutError";
  outcome.error_message = ran_longer(static_cast<std::int64_t>(promoted.execution_seconds * 1e3)) +
                          "; it goes on as a job for the caller who began it, whose run this one had joined";
  outcome.execution_seconds = promoted.execution_seconds;
  outcome.metadata = metadata_header({.has_exception = true,
                                      .exception_class = outcome.error_class,
                                      .error_message = outcome.error_message,
                                      .error_type = row.error_type,
                                      .run_id = outcome.run_id,
                                      .outcome = outcome.outcome,
                                      .execution_seconds = outcome.execution_seconds});
  return outcome;
}

}  // namespace fused
