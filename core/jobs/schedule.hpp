// When something is run again and again: what a schedule says, and from it, purely, what is due. The clock is given.
//
// What holds: a due time is dealt with once, whatever the clock, a restart or a change of daylight saving does
// (schedule_run in state.db has the unique key (schedule, due time)); it is run, or its row says why it is not.
#pragma once
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/cron.hpp"

namespace fused {

// A due time comes while a job of the same schedule is open: it is left out, waits for that one's end, or ends it.
enum class Overlap { skip, queue, cancel_running };
// Due times that nobody was there for: none of them is run, the last, or all.
enum class CatchUp { none, last, all };
inline constexpr std::array<std::string_view, 3> kOverlaps{"skip", "queue", "cancel_running"};
inline constexpr std::array<std::string_view, 3> kCatchUps{"none", "last", "all"};
inline std::string_view word(Overlap value) { return kOverlaps.at(static_cast<std::size_t>(value)); }
inline std::string_view word(CatchUp value) { return kCatchUps.at(static_cast<std::size_t>(value)); }

inline constexpr std::chrono::seconds kScheduleGrace{60};  // later than this a due time was missed
inline constexpr std::chrono::hours kScheduleJitterMax{1};
inline constexpr std::size_t kScheduleCatchUpMax = 1'000;      // of `all`: the newest ones
inline constexpr std::size_t kScheduleWaitingMax = 100;        // of overlap `queue`
inline constexpr std::size_t kSchedulesMax = 10'000;           // of the server
inline constexpr std::size_t kScheduleTextMax = 4'000;         // bytes of name and of description
inline constexpr std::size_t kScheduleArgumentsMax = 1 << 20;  // bytes

struct Schedule {
  std::string id;
  std::string organisation;
  std::string user_id;
  std::string function_id;
  std::string name;
  std::string description;
  bool enabled = true;
  std::string cron;  // five fields, or @daily and the like
  std::string time_zone = "UTC";
  std::string arguments_json = "{}";  // an object: one call; a list of objects: a task for each
  std::string instance_type;          // "": the default
  Overlap overlap = Overlap::skip;
  CatchUp catch_up = CatchUp::last;
  std::chrono::milliseconds jitter{0};  // a due time begins up to so much later; always the same for the same one
  std::string on_failure;               // id of the function that is run when a job of it fails; "": none
  std::optional<WallTime> due;          // the next that is not dealt with; nothing: none comes, or it is disabled
  WallTime created_at{};
  WallTime updated_at{};
};

// Its cron line and zone, understood.
struct ScheduleTimes {
  CronFields fields;
  cctz::time_zone zone;
};
Result<ScheduleTimes> times_of(const Schedule& schedule);
// Everything a schedule says but its functions: invalid_argument names the field, the value and what is allowed.
Status check_schedule(const Schedule& schedule);

// When the due time's job begins: `due` and its share of the jitter.
WallTime start_of(const Schedule& schedule, WallTime due);

struct DuePlan {
  std::vector<WallTime> run;            // oldest first
  bool late = false;                    // the oldest of them was missed and is caught up
  std::size_t missed = 0;               // that are not run, at least
  std::optional<WallTime> last_missed;  // of these
  std::optional<WallTime> next;         // not due yet
};
// What is to be done at `now`; with schedule.due in the future: nothing, and `next` is that.
DuePlan plan_due(const Schedule& schedule, const ScheduleTimes& times, WallTime now);

}  // namespace fused
