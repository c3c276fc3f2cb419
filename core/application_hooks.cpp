#include "application_hooks.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "application_schedules.hpp"
#include "base/text.hpp"
#include "http/endpoints/runnable_function.hpp"
#include "jobs/passing_error.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::chrono::seconds kPause{1};

}  // namespace

Hooks::Hooks(asio::io_context& io, State& state, JobService& jobs, JobParts& parts, const Settings& settings,
             const Clock& clock)
    : io_(io),
      state_(state),
      jobs_(jobs),
      has_mail_(!settings.smtp_url.empty()),
      timer_(io),
      outbox_(
          *state.database, clock, hook_options(settings),
          [this](HookOrder order) { asio::co_spawn(io_, run_function(std::move(order)), asio::detached); },
          [this](std::function<void()> work) { state_.thread.post(std::move(work)); }) {
  parts.read_hooks = [this](const Actor& actor, const json::value& on_finish) { return read(actor, on_finish); };
  parts.mail_hook = [this](const Actor& actor) -> std::optional<json::object> {
    if (!has_mail_ || actor.email.empty()) return std::nullopt;
    return json::object{{"kind", "email"}, {"target", actor.email}};
  };
  parts.hooks_of = [this](std::string job_id) -> asio::awaitable<json::array> {
    auto look = [this, job_id] { return HookOutbox::of_job(*state_.database, job_id); };
    const auto rows = co_await state_.thread.run(std::move(look));
    json::array shown;
    if (!rows) co_return shown;
    for (const HookRow& row : *rows)
      shown.push_back(json::object{{"kind", row.hook.kind},
                                   {"target", row.hook.target},
                                   {"state", row.state},
                                   {"tries", row.tries},
                                   {"error", row.error.empty() ? json::value(nullptr) : json::value(row.error)}});
    co_return shown;
  };
  asio::co_spawn(io_, live(), asio::detached);
}

void Hooks::stop() {
  *stopped_ = true;
  timer_.cancel();
  outbox_.close();
}

asio::awaitable<void> Hooks::live() {
  const auto stopped = stopped_;
  auto tick = [this] {
    outbox_.tick();
    return true;
  };
  while (!*stopped) {
    co_await state_.thread.run(tick);
    if (*stopped) co_return;
    timer_.expires_after(kPause);
    boost::system::error_code error;
    co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
}

// Functions by their ids, so that a later change of a name changes nothing.
Result<json::array> Hooks::read(const Actor& actor, const json::value& on_finish) const {
  auto hooks = FUSED_TRY(read_hooks(on_finish));
  for (JobHook& hook : hooks) {
    if (hook.kind == "email" && !has_mail_)
      return fail(ErrorKind::unprocessable, "'on_finish' names mailto:" + printable(hook.target) +
                                                ", but this server has no mail server; whoever starts it sets one "
                                                "with FUSED_SMTP_URL");
    if (hook.kind == "function") hook.target = FUSED_TRY(runnable_function(state_.functions(), actor, hook.target))->id;
  }
  return hooks_json(hooks);
}

asio::awaitable<void> Hooks::run_function(HookOrder order) {
  const json::value record = json::parse(order.record_json);
  json::object arguments;
  for (const char* name : {"job_id", "status", "error"}) arguments[name] = record.at(name);
  arguments["name"] = record.at("job_name");
  ScheduledJob job;
  job.job_id = order.row.function_job_id;
  job.user_id = order.user_id;
  job.function_id = order.row.hook.target;
  job.name = std::string(record.at("job_name").as_string()) + ":ended";
  job.arguments_json = json::serialize(arguments);
  json::object metadata;
  metadata["fused:job"] = order.row.job_id;
  const Status taken = co_await submit_function(state_, jobs_, std::move(job), std::move(metadata));
  HookAnswer answer;
  if (!taken && taken.error().kind != ErrorKind::conflict)
    answer = {taken.error().message, !is_passing(taken.error().kind)};
  state_.thread.post([this, row = order.row, answer] { outbox_.answered(row, answer); });
}

}  // namespace fused
