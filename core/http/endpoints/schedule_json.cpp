#include "http/endpoints/schedule_json.hpp"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "base/duration.hpp"
#include "base/json_parse.hpp"
#include "base/nearest.hpp"
#include "base/text.hpp"
#include "http/endpoints/runnable_function.hpp"
#include "jobs/job.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::size_t kNextShown = 3;
constexpr std::size_t kShownBytes = 80;

std::string second_text(WallTime time) {
  return utc_text(std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count());
}

std::string shown_json(const json::value& value) {
  const std::string text = json::serialize(value);
  return printable(text.substr(0, kShownBytes));
}

std::unexpected<Error> wrong(std::string_view name, const json::value& seen, std::string_view allowed) {
  return fail(ErrorKind::invalid_argument,
              "'" + std::string(name) + "' is " + shown_json(seen) + "; it must be " + std::string(allowed));
}

// The client's lists: a number, a list of numbers, or nothing for every one.
Result<std::vector<int>> numbers_of(const BodyObject& body, std::string_view name) {
  std::vector<int> numbers;
  const json::value* value = body.find(name);
  if (value == nullptr) return numbers;
  const auto take = [&](const json::value& one) {
    if (!one.is_int64() || one.get_int64() < -1'000 || one.get_int64() > 1'000) return false;
    numbers.push_back(static_cast<int>(one.get_int64()));
    return true;
  };
  const bool fits = value->is_array() ? std::ranges::all_of(value->get_array(), take) : take(*value);
  if (!fits) return wrong(name, *value, "a whole number or a list of them");
  return numbers;
}

json::array numbers_json(const std::vector<int>& numbers, int first, int last) {
  json::array array;
  if (numbers.empty())
    for (int i = first; i <= last; ++i) array.push_back(i);
  for (const int number : numbers) array.push_back(number);
  return array;
}

Result<std::string> cron_text(const BodyObject& body, const std::string& fallback) {
  const auto text = FUSED_TRY(body.optional_text("cron"));
  constexpr std::array<std::string_view, 5> kNames{"minute", "hour", "day_of_month", "month", "day_of_week"};
  const bool has_lists = std::ranges::any_of(kNames, [&](auto name) { return body.find(name) != nullptr; });
  if (text) {
    if (has_lists)
      return fail(ErrorKind::invalid_argument,
                  "'cron' and lists ('minute', 'hour', …) both say when the schedule is due; give one");
    return *text;
  }
  if (!has_lists) return fallback;
  CronLists lists{FUSED_TRY(numbers_of(body, "minute")), FUSED_TRY(numbers_of(body, "hour")),
                  FUSED_TRY(numbers_of(body, "day_of_month")), FUSED_TRY(numbers_of(body, "month")),
                  FUSED_TRY(numbers_of(body, "day_of_week"))};
  return text_of(lists_of(FUSED_TRY(cron_of_lists(lists))));
}

template <class E, std::size_t N>
Status take_word(const BodyObject& body, std::string_view name, const std::array<std::string_view, N>& words, E& into) {
  const auto text = FUSED_TRY(body.optional_text(name));
  if (!text) return {};
  const auto value = state_of<E>(*text, words);
  if (!value) {
    std::string allowed;
    for (const auto word : words) allowed += (allowed.empty() ? "" : ", ") + std::string(word);
    return wrong(name, json::value(*text), "one of " + allowed);
  }
  into = *value;
  return {};
}

Status take_jitter(const BodyObject& body, Schedule& schedule) {
  const json::value* value = body.find("jitter");
  if (value == nullptr) return {};
  if (value->is_string()) {
    const auto text = std::string(value->get_string());
    schedule.jitter = FUSED_TRY(parse_duration(text));
    return {};
  }
  boost::system::error_code error;
  const double seconds = value->to_number<double>(error);
  if (error || !(seconds >= 0 && seconds <= 3'600))
    return wrong("jitter", *value, "0 to 3600 seconds, or a text as \"5m\"");
  schedule.jitter = std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1'000));
  return {};
}

}  // namespace

Status refuse_unknown_members(const json::object& body) {
  static const std::vector<std::string> known{"id",          "name",          "description",
                                              "enabled",     "cron",          "time_zone",
                                              "minute",      "hour",          "month",
                                              "day_of_week", "day_of_month",  "function",
                                              "udf",         "arguments",     "udf_args",
                                              "overlap",     "catch_up",      "instance_type",
                                              "on_failure",  "jitter",        "execution_environment_id",
                                              "last_run",    "function_name", "next",
                                              "user_id",     "created_at",    "updated_at"};
  for (const auto& member : body) {
    const std::string name(member.key());
    if (std::ranges::find(known, name) != known.end()) continue;
    const std::string near = nearest(name, known);
    return fail(ErrorKind::invalid_argument,
                "a schedule has no '" + printable(name.substr(0, kShownBytes)) + "'" +
                    (near.empty() ? "; it has name, cron, time_zone, function, arguments, enabled, overlap, catch_up, "
                                    "jitter, on_failure, instance_type and description"
                                  : "; did you mean '" + near + "'?"));
  }
  return {};
}

Status take_schedule(const BodyObject& body, const FunctionStore& functions, const Actor& actor, Schedule& schedule) {
  for (const char* name : {"function", "udf"})
    if (const auto named = FUSED_TRY(body.optional_text(name)))
      schedule.function_id = FUSED_TRY(runnable_function(functions, actor, *named))->id;
  if (schedule.function_id.empty())
    return fail(ErrorKind::invalid_argument, "'function' is missing; it names the saved function that is to be run");
  const SharedSaved function = functions.by_id(schedule.function_id);
  schedule.name = FUSED_TRY(body.text("name", schedule.name));
  if (schedule.name.empty() && function) schedule.name = function->slug;
  schedule.description = FUSED_TRY(body.text("description", schedule.description));
  schedule.enabled = FUSED_TRY(body.yes_or_no("enabled", schedule.enabled));
  schedule.cron = FUSED_TRY(cron_text(body, schedule.cron));
  if (schedule.cron.empty())
    return fail(ErrorKind::invalid_argument,
                "'cron' is missing; it says when, as \"0 6 * * mon-fri\", or by the lists 'minute', 'hour', …");
  schedule.time_zone = FUSED_TRY(body.text("time_zone", schedule.time_zone));
  for (const char* name : {"arguments", "udf_args"})
    if (const json::value* arguments = body.find(name)) {
      if (!arguments->is_object() && !arguments->is_array())
        return wrong(name, *arguments, "an object of arguments, or a list of such objects: a task for each");
      schedule.arguments_json = json::serialize(*arguments);
    }
  schedule.instance_type = FUSED_TRY(body.text("instance_type", schedule.instance_type));
  FUSED_CHECK(take_word(body, "overlap", kOverlaps, schedule.overlap));
  FUSED_CHECK(take_word(body, "catch_up", kCatchUps, schedule.catch_up));
  FUSED_CHECK(take_jitter(body, schedule));
  if (const auto named = FUSED_TRY(body.optional_text("on_failure")))
    schedule.on_failure = named->empty() ? "" : FUSED_TRY(runnable_function(functions, actor, *named))->id;
  return {};
}

json::object schedule_run_record(const ScheduleStore::Shown& shown) {
  json::object record{{"due", second_text(shown.run.due)},
                      {"job_id", nullptr},
                      {"state", shown.state},
                      {"error", nullptr},
                      {"note", shown.run.note}};
  if (!shown.run.job_id.empty()) record["job_id"] = shown.run.job_id;
  if (!shown.error.empty()) record["error"] = shown.error;
  if (shown.state.empty()) record["state"] = shown.run.phase == RunPhase::settled ? "not run" : "waiting";
  if (!shown.run.failure_job_id.empty()) record["failure_job_id"] = shown.run.failure_job_id;
  return record;
}

json::object schedule_record(const ScheduleParts& parts, const Schedule& schedule) {
  const SharedSaved function = parts.functions->by_id(schedule.function_id);
  const auto arguments = parse_json(schedule.arguments_json);
  json::object record{{"id", schedule.id},
                      {"name", schedule.name},
                      {"description", schedule.description},
                      {"execution_environment_id", schedule.organisation},
                      {"enabled", schedule.enabled},
                      {"udf", schedule.function_id},
                      {"udf_args", arguments ? *arguments : json::value(nullptr)},
                      {"last_run", nullptr},
                      {"function", schedule.function_id},
                      {"function_name", nullptr},  // it was deleted
                      {"arguments", arguments ? *arguments : json::value(nullptr)},
                      {"cron", schedule.cron},
                      {"time_zone", schedule.time_zone},
                      {"instance_type", schedule.instance_type},
                      {"overlap", word(schedule.overlap)},
                      {"catch_up", word(schedule.catch_up)},
                      {"jitter", static_cast<double>(schedule.jitter.count()) / 1'000},
                      {"on_failure", nullptr},
                      {"user_id", schedule.user_id},
                      {"created_at", second_text(schedule.created_at)},
                      {"updated_at", second_text(schedule.updated_at)}};
  if (function) record["function_name"] = function->slug;
  if (!schedule.on_failure.empty()) record["on_failure"] = schedule.on_failure;
  if (const auto fields = parse_cron(schedule.cron)) {
    const CronLists lists = lists_of(*fields);
    record["minute"] = numbers_json(lists.minute, 0, 59);
    record["hour"] = numbers_json(lists.hour, 0, 23);
    record["day_of_month"] = numbers_json(lists.day_of_month, 1, 31);
    record["month"] = numbers_json(lists.month, 1, 12);
    record["day_of_week"] = numbers_json(lists.day_of_week, 0, 6);
  }
  json::array next;
  for (const WallTime time : parts.schedules->next_times(schedule, kNextShown))
    next.push_back(second_text(time).c_str());
  record["next"] = std::move(next);
  if (const auto last = parts.schedules->runs(schedule.id, 1); last && !last->empty())
    record["last_run"] = second_text(last->front().run.due);
  return record;
}

}  // namespace fused
