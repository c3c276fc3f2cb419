// When a schedule is due: cron fields (product-behaviour.md A1 "Schedules", client-protocol.md §2.5) in a time zone.
#pragma once
#include <cctz/time_zone.h>

#include <bitset>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/result.hpp"

namespace fused {

struct CronFields {
  std::bitset<60> minute;
  std::bitset<24> hour;
  std::bitset<32> day_of_month;  // 1 … 31
  std::bitset<13> month;         // 1 … 12
  std::bitset<7> day_of_week;    // 0 is Sunday
  // As crontab(5): where both days are restricted, either makes a day match.
  bool any_day_of_month = true;
  bool any_day_of_week = true;
};

// "*/15 6-20 * * mon-fri", or @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually. Names of months and
// days in any case; 7 is Sunday. invalid_argument names the field, what it holds and what it may.
Result<CronFields> parse_cron(std::string_view text);
// The client's lists; an empty one is "any", but minute must have at least one value.
struct CronLists {
  std::vector<int> minute, hour, day_of_month, month, day_of_week;
};
Result<CronFields> cron_of_lists(const CronLists& lists);
std::string text_of(const CronLists& lists);   // "5 1,2 * * *", which parse_cron reads
CronLists lists_of(const CronFields& fields);  // an unrestricted field is an empty list, minute never is

// "Europe/Zurich", "UTC"; invalid_argument for a name that the system's zone files do not have.
Result<cctz::time_zone> find_time_zone(const std::string& name);

// The first due time after `after`; nothing when none comes (31 February).
// Daylight saving: a time that the clocks jump over is due at the jump, once; one that comes twice is due the first
// time, but where every hour is due both are.
std::optional<WallTime> next_due(const CronFields& fields, const cctz::time_zone& zone, WallTime after);

}  // namespace fused
