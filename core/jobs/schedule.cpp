#include "jobs/schedule.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/ids.hpp"
#include "base/json_parse.hpp"
#include "base/text.hpp"
#include "jobs/instance_type.hpp"

namespace fused {
namespace {

constexpr auto kLookBack = std::chrono::hours(24 * 32);  // missed times are counted so far back

std::unexpected<Error> refused(std::string_view field, std::string_view seen, std::string_view allowed) {
  return fail(ErrorKind::invalid_argument, "a schedule's " + std::string(field) + " is '" +
                                               printable(seen.substr(0, 80)) + "'; " + std::string(allowed));
}

Status check_arguments(const std::string& text) {
  const auto value = parse_json(text);
  if (!value) return refused("arguments", text, "they must be JSON: " + value.error().message);
  if (value->is_object()) return {};
  const auto* list = value->if_array();
  if (list != nullptr && !list->empty() && std::ranges::all_of(*list, [](const auto& one) { return one.is_object(); }))
    return {};
  return refused("arguments", text, R"(allowed are an object as {"n": 3}, or a list of objects: a task for each)");
}

}  // namespace

Result<ScheduleTimes> times_of(const Schedule& schedule) {
  return ScheduleTimes{FUSED_TRY(parse_cron(schedule.cron)), FUSED_TRY(find_time_zone(schedule.time_zone))};
}

Status check_schedule(const Schedule& schedule) {
  const ScheduleTimes times = FUSED_TRY(times_of(schedule));
  if (!next_due(times.fields, times.zone, schedule.updated_at))
    return refused("cron line", schedule.cron, "no day is ever like that, so it would never run");
  if (schedule.name.empty() || schedule.name.size() > kScheduleTextMax || !is_utf8(schedule.name))
    return refused("name", schedule.name, "it needs 1 to " + std::to_string(kScheduleTextMax) + " bytes of text");
  if (schedule.description.size() > kScheduleTextMax || !is_utf8(schedule.description))
    return refused("description", schedule.description,
                   "it may have " + std::to_string(kScheduleTextMax) + " bytes of text");
  if (schedule.arguments_json.size() > kScheduleArgumentsMax)
    return refused("arguments", schedule.arguments_json,
                   "they may have " + std::to_string(kScheduleArgumentsMax) + " bytes");
  FUSED_CHECK(check_arguments(schedule.arguments_json));
  FUSED_CHECK(find_instance_type(schedule.instance_type));
  if (schedule.jitter < std::chrono::milliseconds(0) || schedule.jitter > kScheduleJitterMax)
    return refused("jitter", std::to_string(schedule.jitter.count()) + " ms", "allowed are 0 s to 3600 s");
  return {};
}

WallTime start_of(const Schedule& schedule, WallTime due) {
  if (schedule.jitter.count() <= 0) return due;
  const auto when = std::chrono::duration_cast<std::chrono::milliseconds>(due.time_since_epoch()).count();
  const std::string digest = sha256_hex(schedule.id + '/' + std::to_string(when));
  const auto part = std::stoull(digest.substr(0, 12), nullptr, 16);
  return due + std::chrono::milliseconds(part % static_cast<unsigned long long>(schedule.jitter.count() + 1));
}

DuePlan plan_due(const Schedule& schedule, const ScheduleTimes& times, WallTime now) {
  DuePlan plan;
  if (!schedule.due || start_of(schedule, *schedule.due) > now) {
    plan.next = schedule.due;
    return plan;
  }
  std::optional<WallTime> due = schedule.due;
  // After a year of absence nobody needs the minutes of that year counted.
  if (const WallTime far = now - kLookBack; *due < far)
    if (const auto nearer = next_due(times.fields, times.zone, far); nearer && start_of(schedule, *nearer) <= now) {
      plan.missed = 1;
      plan.last_missed = due;
      due = nearer;
    }
  std::vector<WallTime> on_time;
  std::vector<WallTime> late;
  for (; due && start_of(schedule, *due) <= now; due = next_due(times.fields, times.zone, *due))
    (now - start_of(schedule, *due) > kScheduleGrace ? late : on_time).push_back(*due);
  plan.next = due;

  std::size_t kept = schedule.catch_up == CatchUp::all ? std::min(late.size(), kScheduleCatchUpMax) : 0;
  // What is on time is the last; what was missed before it needs no catching up.
  if (schedule.catch_up == CatchUp::last && on_time.empty() && !late.empty()) kept = 1;
  const auto first_kept = late.end() - static_cast<std::ptrdiff_t>(kept);
  if (first_kept != late.begin()) {
    plan.missed += static_cast<std::size_t>(first_kept - late.begin());
    plan.last_missed = *(first_kept - 1);
  }
  plan.late = kept > 0;
  plan.run.assign(first_kept, late.end());
  plan.run.insert(plan.run.end(), on_time.begin(), on_time.end());
  return plan;
}

}  // namespace fused
