// Of JobService: a run that has reached its wall limit becomes a job (docs/decisions/0012, B).
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/json/array.hpp>

#include "jobs/job_service.hpp"
#include "run/promotion.hpp"
#include "run/run_conversation.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

Status may_promote(const RunRequest& request) {
  const auto no = [](std::string why) { return fail(ErrorKind::unprocessable, std::move(why)); };
  if (request.actor.kind == ActorKind::share_token) return no("visitors of a share token may not submit jobs");
  if (request.actor.kind != ActorKind::user || request.nested) return no("another run waits for it");
  if (request.tile) return no("a job has no tile: give bounds as an ordinary parameter");
  if (request.profile) return no("a job has no profile");
  if (request.function->owner_id != request.actor.user_id)
    return no("the function is " + request.function->owner_email +
              "'s, and a job runs with the rights of who submits it; load it and run that");
  return {};
}

// The job's name as its pattern allows: [A-Za-z][A-Za-z0-9_.:-]*.
std::string name_of(const std::string& function) {
  std::string name;
  for (const char c : function) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool fits = is_letter || (c >= '0' && c <= '9') || c == '.' || c == ':' || c == '-';
    if (name.empty() && !is_letter) name = "run_";
    name += fits ? c : '_';
  }
  return name.empty() ? "run" : name.substr(0, 200);
}

// Defaults beneath what came as text beneath what came as JSON; a name that was given several times is a list.
json::object parameters_of(const RunRequest& request) {
  json::object all = request.function->parameters;
  json::object as_text;
  for (const auto& [name, value] : request.query) {
    json::value* found = as_text.if_contains(name);
    if (found == nullptr)
      as_text[name] = value;
    else if (found->is_array())
      found->get_array().emplace_back(value);
    else
      *found = json::array{*found, value};
  }
  for (const json::object* more : {&std::as_const(as_text), &request.typed})
    for (const auto& [name, value] : *more) all[name] = value;
  return all;
}

json::object config_of(const RunRequest& request) {
  const FunctionSource& function = *request.function;
  json::array headers;
  for (const HeaderModule& header : function.headers)
    headers.push_back(json::object{{"module_name", header.module_name}, {"source_code", header.source_code}});
  json::object udf{{"name", function.name},         {"type", "geopandas_v2"},
                   {"code", function.code},         {"entrypoint", function.entrypoint},
                   {"headers", std::move(headers)}, {"parameters", parameters_of(request)}};
  if (!function.id.empty()) udf["metadata"] = json::object{{"fused:id", function.id}};
  json::object step{{"type", "udf"}, {"udf", std::move(udf)}, {"input", nullptr}};
  return {{"name", name_of(function.name)}, {"steps", json::array{std::move(step)}}, {"metadata", nullptr}};
}

}  // namespace

asio::awaitable<Result<PromotedJob>> JobService::promote(LongRun run) {
  const RunRequest& request = run.request;
  if (const auto may = may_promote(request); !may) co_return std::unexpected(may.error());
  if (draining_) co_return fail(ErrorKind::unavailable, "the server is stopping");
  JobWish wish{config_of(request), {}, request.run_id};
  wish.options.recursion = request.recursion;
  wish.options.formats = request.format.preferences;
  wish.options.promoted_after_ms = run.limits.wall_ms;
  wish.options.promoted_memory_bytes = run.limits.memory_bytes;
  auto job = co_await prepare(request.actor, std::move(wish));
  if (!job) co_return std::unexpected(job.error());
  job->parallel_max = 1;
  const auto start = co_await adopt(*job);
  if (!start) {
    forget(*job);
    co_return std::unexpected(start.error());
  }
  ++figures_.submitted;
  if (on_config) on_config(job->config_path);
  const PromotedJob promoted{job->id, job->run_max.count()};
  const std::string id = job->id;
  const auto ticket = run.ticket;
  launcher_.adopt(*start, *job, std::move(run));
  // Somebody who knows the run's id may have canceled the job before its process was handed over.
  auto look = [this, id] { return scheduler_.view(id).has_value(); };
  auto check = [this, look = std::move(look), attempt = start->id]() mutable -> asio::awaitable<void> {
    if (!co_await state_.run(std::move(look))) launcher_.kill(attempt);
  };
  asio::co_spawn(io_, std::move(check), asio::detached);
  co_await logs_.flushed(id);  // who is told of the job finds what the run has printed, also after a kill
  co_return promoted;
}

}  // namespace fused
