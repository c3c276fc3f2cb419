#include "http/endpoints/schedules.hpp"

#include <boost/json/array.hpp>

#include "auth/permissions.hpp"
#include "base/json_parse.hpp"
#include "base/text.hpp"
#include "http/endpoints/schedule_json.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::int64_t kBodyBytes = 2 << 20;
constexpr std::size_t kRuns = 20;
constexpr std::size_t kRunsMax = 1'000;

std::unexpected<Error> unknown(const std::string& id) {
  return fail(ErrorKind::not_found, "there is no schedule '" + printable(id.substr(0, 80)) +
                                        "' that you may see; GET /api/v1/schedules lists them");
}
Result<Schedule> visible(const ScheduleParts& parts, const Actor& actor, const std::string& id) {
  auto found = parts.schedules->find(id);
  if (!found || !may_see(actor, found->organisation)) return unknown(id);
  return *std::move(found);
}
Result<Schedule> writable(const ScheduleParts& parts, const Actor& actor, const std::string& id) {
  Schedule found = FUSED_TRY(visible(parts, actor, id));
  if (!may_write(actor, found.organisation, found.user_id))
    return fail(ErrorKind::forbidden, "schedule '" + found.id +
                                          "' is another user's: who made it, and owners of the organisation, may "
                                          "change, remove or run it");
  return found;
}

// The work is done on the state thread, where the schedules are; the request stays here.
template <class F>
asio::awaitable<Reply> answered(const ScheduleParts& parts, const Request& request, F work) {
  const Result<json::value> result = co_await parts.thread->run(std::move(work));
  co_return reply_of_result(result, request, [](const json::value& value) { return value; });
}

Result<BodyObject> body_of(const Request& request, bool strict) {
  if (strict && !request.body.empty())
    if (const auto value = parse_json(request.body.view(), kBodyDepthMax); value && value->is_object())
      FUSED_CHECK(refuse_unknown_members(value->get_object()));
  return BodyObject::of(request);
}

}  // namespace

asio::awaitable<Reply> ListSchedules::operator()(Request& request) const {
  const std::string* mine = request.query.find("mine");
  auto work = [parts = &parts, actor = request.actor, id = path_value_of(request, "id"),
               own = of == Of::user || (mine != nullptr && *mine == "true"),
               of_function = of == Of::function]() -> Result<json::value> {
    json::array records;
    for (const Schedule& schedule : parts->schedules->list(actor.organisation))
      if ((!own || schedule.user_id == actor.user_id) && (!of_function || schedule.function_id == id))
        records.push_back(schedule_record(*parts, schedule));
    return json::value(std::move(records));
  };
  co_return co_await answered(parts, request, std::move(work));
}

asio::awaitable<Reply> CreateSchedule::operator()(Request& request) const {
  auto body = body_of(request, strict);
  if (!body) co_return error_reply(body.error(), request);
  auto work = [parts = &parts, actor = request.actor, body = *std::move(body)]() -> Result<json::value> {
    Schedule schedule;
    schedule.organisation = actor.organisation;
    schedule.user_id = actor.user_id;
    FUSED_CHECK(take_schedule(body, *parts->functions, actor, schedule));
    return json::value(schedule_record(*parts, FUSED_TRY(parts->schedules->add(std::move(schedule)))));
  };
  co_return co_await answered(parts, request, std::move(work));
}

asio::awaitable<Reply> GetSchedule::operator()(Request& request) const {
  auto work = [parts = &parts, actor = request.actor, id = path_value_of(request, "id")]() -> Result<json::value> {
    return json::value(schedule_record(*parts, FUSED_TRY(visible(*parts, actor, id))));
  };
  co_return co_await answered(parts, request, std::move(work));
}

asio::awaitable<Reply> ChangeSchedule::operator()(Request& request) const {
  auto body = body_of(request, strict);
  if (!body) co_return error_reply(body.error(), request);
  auto work = [parts = &parts, actor = request.actor, id = path_value_of(request, "id"),
               body = *std::move(body)]() -> Result<json::value> {
    FUSED_CHECK(writable(*parts, actor, id));
    const auto change = [&](Schedule& schedule) { return take_schedule(body, *parts->functions, actor, schedule); };
    return json::value(schedule_record(*parts, FUSED_TRY(parts->schedules->change(id, change))));
  };
  co_return co_await answered(parts, request, std::move(work));
}

asio::awaitable<Reply> RemoveSchedule::operator()(Request& request) const {
  auto work = [parts = &parts, actor = request.actor, id = path_value_of(request, "id")]() -> Result<json::value> {
    const Schedule schedule = FUSED_TRY(writable(*parts, actor, id));
    json::object record = schedule_record(*parts, schedule);
    FUSED_CHECK(parts->schedules->remove(id));
    return json::value(std::move(record));
  };
  co_return co_await answered(parts, request, std::move(work));
}

asio::awaitable<Reply> RunSchedule::operator()(Request& request) const {
  const std::string id = path_value_of(request, "id");
  auto begin = [parts = &parts, actor = request.actor, id]() -> Result<ScheduledJob> {
    FUSED_CHECK(writable(*parts, actor, id));
    return parts->schedules->run_now(id);
  };
  const auto begun = co_await parts.thread->run(std::move(begin));
  if (!begun) co_return error_reply(begun.error(), request);
  const Status taken = co_await parts.submit(*begun);
  auto note = [parts = &parts, job = *begun, taken, actor = request.actor]() -> Result<json::object> {
    parts->schedules->answered(job, taken);
    return schedule_record(*parts, FUSED_TRY(visible(*parts, actor, job.schedule_id)));
  };
  auto schedule = co_await parts.thread->run(std::move(note));
  if (!taken) co_return error_reply(taken.error().within("the schedule cannot run now"), request);
  if (!schedule) co_return error_reply(schedule.error(), request);
  auto job = co_await parts.job(request.actor, begun->job_id);
  if (!job) co_return error_reply(job.error(), request);
  co_return json_reply(json::object{{"run", *std::move(job)}, {"cronjob", *std::move(schedule)}});
}

asio::awaitable<Reply> ListScheduleRuns::operator()(Request& request) const {
  const auto limit = whole_number_of(request, "limit", kRuns, kRunsMax);
  if (!limit) co_return error_reply(limit.error(), request);
  auto work = [parts = &parts, actor = request.actor, id = path_value_of(request, "id"),
               limit = *limit]() -> Result<json::value> {
    FUSED_CHECK(visible(*parts, actor, id));
    json::array records;
    for (const auto& shown : FUSED_TRY(parts->schedules->runs(id, static_cast<std::int64_t>(limit))))
      records.push_back(schedule_run_record(shown));
    return json::value(std::move(records));
  };
  co_return co_await answered(parts, request, std::move(work));
}

std::vector<Route> schedule_routes(ScheduleParts& parts) {
  using enum Method;
  using Of = ListSchedules::Of;
  const std::string cron = "/server/v1/cronjob";
  const std::string own = "/api/v1/schedules";
  const auto in_person = Access::signed_in;
  return {
      {get, cron + "/get-self", in_person, ListSchedules{parts, Of::user}, "list_own_cronjobs"},
      {get, cron + "/by-udf-id/{id}", in_person, ListSchedules{parts, Of::function}, "list_cronjobs_of_function"},
      {get, cron + "/by-id/{id}", in_person, GetSchedule{parts}, "get_cronjob"},
      {post, cron + "/by-id/{id}", in_person, ChangeSchedule{parts, false}, "change_cronjob", kBodyBytes},
      {delete_, cron + "/by-id/{id}", in_person, RemoveSchedule{parts}, "remove_cronjob"},
      {post, cron + "/create", in_person, CreateSchedule{parts, false}, "create_cronjob", kBodyBytes},
      {post, cron + "/user-run/by-id/{id}", in_person, RunSchedule{parts}, "run_cronjob", kBodyBytes},
      {get, own, in_person, ListSchedules{parts, Of::organisation}, "list_schedules"},
      {post, own, in_person, CreateSchedule{parts, true}, "create_schedule", kBodyBytes},
      {get, own + "/{id}", in_person, GetSchedule{parts}, "get_schedule"},
      {post, own + "/{id}", in_person, ChangeSchedule{parts, true}, "change_schedule", kBodyBytes},
      {delete_, own + "/{id}", in_person, RemoveSchedule{parts}, "remove_schedule"},
      {post, own + "/{id}/run", in_person, RunSchedule{parts}, "run_schedule", kBodyBytes},
      {get, own + "/{id}/runs", in_person, ListScheduleRuns{parts}, "list_schedule_runs"},
  };
}

}  // namespace fused
