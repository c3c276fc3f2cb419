#include "application_schedules.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "base/json_parse.hpp"
#include "functions/function_json.hpp"
#include "http/endpoints/jobs.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::size_t kFunctionDepth = 64;
constexpr std::size_t kNameMax = 200;

// A job's name is made of letters, digits and _.:- and begins with a letter; a function's may be anything.
std::string job_name(std::string_view text) {
  std::string name;
  for (const char c : text.substr(0, kNameMax)) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool other = (c >= '0' && c <= '9') || c == '_' || c == '.' || c == ':' || c == '-';
    name += letter || other ? c : '_';
  }
  const bool begins = !name.empty() && ((name[0] >= 'a' && name[0] <= 'z') || (name[0] >= 'A' && name[0] <= 'Z'));
  return begins ? name : "schedule_" + name;
}

Result<json::object> config_of_function(const SavedFunction& function, const std::string& name,
                                        const std::string& arguments, json::object metadata) {
  const std::string text = function.udf_body ? *function.udf_body : json_of_function(*function.source);
  json::value udf = FUSED_TRY(parse_json(text, kFunctionDepth));
  json::value given = FUSED_TRY(parse_json(arguments, kFunctionDepth));
  if (!udf.is_object()) return fail(ErrorKind::unprocessable, "function '" + function.slug + "' is no JSON object");
  json::value input;
  if (given.is_array()) {
    input = std::move(given);
  } else if (given.is_object()) {
    json::value& parameters = udf.get_object()["parameters"];
    if (!parameters.is_object()) parameters = json::object();
    for (const auto& member : given.get_object()) parameters.get_object()[member.key()] = member.value();
  }
  const json::object step{
      {"type", "udf"},          {"name", function.slug}, {"metadata", nullptr},      {"ignore_chunk_error", false},
      {"n_processes", nullptr}, {"udf", std::move(udf)}, {"input", std::move(input)}};
  return json::object{{"name", job_name(name)}, {"steps", json::array{step}}, {"metadata", std::move(metadata)}};
}

}  // namespace

Schedules::Schedules(asio::io_context& io, State& state, JobService& jobs, const Clock& clock)
    : io_(io),
      state_(state),
      jobs_(jobs),
      store_(*state.database),
      service_(store_, clock,
               {[this](const ScheduledJob& job) {
                  auto ask = [this, job]() -> asio::awaitable<void> {
                    json::object metadata;
                    metadata["fused:schedule"] = job.schedule_id;
                    const Status taken = co_await submit_function(state_, jobs_, job, std::move(metadata));
                    state_.thread.post([this, job, taken] { service_.answered(job, taken); });
                  };
                  asio::co_spawn(io_, std::move(ask), asio::detached);
                },
                [this](const std::string& job_id) {
                  auto end = [this, job_id]() -> asio::awaitable<void> {
                    auto look = [this, job_id] { return store_.job(job_id); };
                    const auto job = co_await state_.thread.run(std::move(look));
                    if (!job || !*job || !(*job)->open) co_return;
                    const auto user = state_.people->user((*job)->user_id);
                    if (user) co_await jobs_.cancel(actor_of_user(*user), job_id);
                  };
                  asio::co_spawn(io_, std::move(end), asio::detached);
                }}) {
  parts.schedules = &service_;
  parts.functions = &state.functions();
  parts.thread = &state.thread;
  parts.submit = [this](ScheduledJob job) {
    json::object metadata{{"fused:schedule", job.schedule_id}};
    return submit_function(state_, jobs_, std::move(job), std::move(metadata));
  };
  parts.job = [this](Actor actor, std::string job_id) -> asio::awaitable<Result<json::object>> {
    const auto found = co_await jobs_.find(std::move(actor), std::move(job_id));
    if (!found) co_return std::unexpected(found.error());
    co_return job_record(*found);
  };
}

Result<std::unique_ptr<Schedules>> Schedules::open(asio::io_context& io, State& state, JobService& jobs,
                                                   const Clock& clock) {
  auto made = std::make_unique<Schedules>(io, state, jobs, clock);
  FUSED_CHECK(made->service_.begin());
  made->ticker_ = std::make_unique<ScheduleTicker>(io, state.thread, made->service_, clock);
  return made;
}

asio::awaitable<Status> submit_function(State& state, JobService& jobs, ScheduledJob job, json::object metadata) {
  const SharedSaved function = state.functions().by_id(job.function_id);
  if (!function) co_return fail(ErrorKind::not_found, "its function (" + job.function_id + ") was deleted");
  const auto user = state.people->user(job.user_id);
  if (!user || !user->enabled) co_return fail(ErrorKind::forbidden, "its user may not sign in any more");
  auto config = config_of_function(*function, job.name, job.arguments_json, std::move(metadata));
  if (!config) co_return std::unexpected(config.error());
  JobWish wish;
  wish.config = *std::move(config);
  wish.id = job.job_id;
  wish.options.instance_type = job.instance_type;
  const auto submitted = co_await jobs.submit(actor_of_user(*user), std::move(wish));
  if (!submitted) co_return std::unexpected(submitted.error());
  co_return Status();
}

}  // namespace fused
