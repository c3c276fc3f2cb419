// Which due times a schedule runs, as a pure function of the clock.
#include "jobs/schedule.hpp"

#include <gtest/gtest.h>

namespace fused {
namespace {

WallTime at(const char* text) {  // 2026-03-29T01:30:00 in UTC
  std::tm parts{};
  ::strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
  return std::chrono::system_clock::from_time_t(::timegm(&parts));
}

Schedule schedule(std::string cron, CatchUp catch_up = CatchUp::last, std::string zone = "UTC") {
  Schedule made;
  made.id = "s";
  made.name = "nightly";
  made.cron = std::move(cron);
  made.time_zone = std::move(zone);
  made.catch_up = catch_up;
  return made;
}
DuePlan plan(Schedule made, WallTime due, WallTime now) {
  made.due = due;
  return plan_due(made, *times_of(made), now);
}
std::string message(const Schedule& made) {
  const Status status = check_schedule(made);
  return status ? "" : status.error().message;
}

TEST(Schedule, what_is_not_due_waits_and_what_is_due_runs_once) {
  const auto made = schedule("0 6 * * *");
  const auto six = at("2026-11-21T06:00:00");
  EXPECT_TRUE(plan(made, six, six - std::chrono::seconds(1)).run.empty());
  EXPECT_EQ(plan(made, six, six - std::chrono::seconds(1)).next, six);
  const DuePlan now = plan(made, six, six);
  EXPECT_EQ(now.run, std::vector{six});
  EXPECT_EQ(now.next, at("2026-11-22T06:00:00"));
  EXPECT_EQ(now.missed, 0U);
}

TEST(Schedule, missed_times_are_caught_up_as_the_schedule_says) {
  const auto due = at("2026-11-18T06:00:00");
  const auto now = at("2026-11-21T12:00:00");  // four were missed
  const DuePlan none = plan(schedule("0 6 * * *", CatchUp::none), due, now);
  EXPECT_TRUE(none.run.empty());
  EXPECT_EQ(none.missed, 4U);
  EXPECT_EQ(none.last_missed, at("2026-11-21T06:00:00"));
  const DuePlan last = plan(schedule("0 6 * * *", CatchUp::last), due, now);
  EXPECT_EQ(last.run, std::vector{at("2026-11-21T06:00:00")});
  EXPECT_EQ(last.missed, 3U);
  const DuePlan all = plan(schedule("0 6 * * *", CatchUp::all), due, now);
  EXPECT_EQ(all.run.size(), 4U);
  EXPECT_EQ(all.run.front(), due);
  EXPECT_TRUE(all.late);
  for (const auto& each : {none, last, all}) EXPECT_EQ(each.next, at("2026-11-22T06:00:00"));
}

TEST(Schedule, a_time_within_the_grace_is_run_also_where_nothing_is_caught_up) {
  const auto due = at("2026-11-21T06:00:00");
  EXPECT_EQ(plan(schedule("0 6 * * *", CatchUp::none), due, due + std::chrono::seconds(60)).run.size(), 1U);
  EXPECT_TRUE(plan(schedule("0 6 * * *", CatchUp::none), due, due + std::chrono::seconds(61)).run.empty());
}

TEST(Schedule, years_of_absence_are_counted_quickly_and_the_newest_is_run) {
  const auto now = at("2036-11-21T06:00:30");
  const DuePlan minutes = plan(schedule("* * * * *", CatchUp::all), at("2026-11-21T06:00:00"), now);
  EXPECT_EQ(minutes.run.size(), kScheduleCatchUpMax + 1);  // and the one that is on time
  EXPECT_EQ(minutes.run.back(), at("2036-11-21T06:00:00"));
  EXPECT_EQ(minutes.next, at("2036-11-21T06:01:00"));
  // Rarer than the time that is looked back: still the last one.
  const DuePlan yearly = plan(schedule("0 0 1 1 *"), at("2027-01-01T00:00:00"), now);
  EXPECT_EQ(yearly.run, std::vector{at("2036-01-01T00:00:00")});
  EXPECT_EQ(yearly.next, at("2037-01-01T00:00:00"));
}

TEST(Schedule, a_night_without_its_hour_and_one_with_two_have_one_run_each) {
  const auto made = schedule("30 2 * * *", CatchUp::all, "Europe/Zurich");
  // 29 March 2026: 02:00 becomes 03:00 (01:00 UTC).
  const DuePlan spring = plan(made, at("2026-03-28T01:30:00"), at("2026-03-30T12:00:00"));
  EXPECT_EQ(spring.run, (std::vector{at("2026-03-28T01:30:00"), at("2026-03-29T01:00:00"), at("2026-03-30T00:30:00")}));
  // 25 October 2026: 03:00 becomes 02:00 (01:00 UTC).
  const DuePlan autumn = plan(made, at("2026-10-24T00:30:00"), at("2026-10-26T12:00:00"));
  EXPECT_EQ(autumn.run, (std::vector{at("2026-10-24T00:30:00"), at("2026-10-25T00:30:00"), at("2026-10-26T01:30:00")}));
}

TEST(Schedule, every_half_hour_goes_through_both_hours_of_the_long_night) {
  const auto made = schedule("*/30 * * * *", CatchUp::all, "Europe/Zurich");
  const DuePlan autumn = plan(made, at("2026-10-25T00:00:00"), at("2026-10-25T01:59:00"));
  EXPECT_EQ(autumn.run.size(), 4U);
  for (std::size_t i = 1; i < autumn.run.size(); ++i)
    EXPECT_EQ(autumn.run[i] - autumn.run[i - 1], std::chrono::minutes(30));
}

TEST(Schedule, jitter_is_within_its_bound_and_the_same_at_every_look) {
  auto made = schedule("0 * * * *");
  made.jitter = std::chrono::minutes(10);
  std::set<WallTime::duration> seen;
  for (int hour = 0; hour < 24; ++hour) {
    const auto due = at("2026-11-21T00:00:00") + std::chrono::hours(hour);
    const auto start = start_of(made, due);
    EXPECT_GE(start, due);
    EXPECT_LE(start, due + made.jitter);
    EXPECT_EQ(start, start_of(made, due));
    EXPECT_EQ(plan(made, due, start - std::chrono::milliseconds(1)).run.size(), 0U);
    EXPECT_EQ(plan(made, due, start).run, std::vector{due});
    seen.insert(start - due);
  }
  EXPECT_GT(seen.size(), 12U);
}

TEST(Schedule, what_is_wrong_is_named_with_what_is_allowed) {
  auto made = schedule("61 * * * *");
  EXPECT_NE(message(made).find("minute is '61'; allowed are 0 to 59"), std::string::npos) << message(made);
  made = schedule("0 6 * * *", CatchUp::last, "Mars/Olympus");
  EXPECT_NE(message(made).find("'Mars/Olympus'"), std::string::npos);
  made = schedule("0 0 31 2 *");
  EXPECT_NE(message(made).find("never"), std::string::npos);
  made = schedule("0 6 * * *");
  made.arguments_json = "[]";
  EXPECT_NE(message(made).find("arguments"), std::string::npos);
  made.arguments_json = R"([{"n":1},{"n":2}])";
  EXPECT_EQ(message(made), "");
  made.instance_type = "m9.huge";
  EXPECT_NE(message(made).find("m5.large"), std::string::npos);
  made.instance_type.clear();
  made.jitter = std::chrono::hours(2);
  EXPECT_NE(message(made).find("0 s to 3600 s"), std::string::npos);
  made.jitter = {};
  made.name.clear();
  EXPECT_NE(message(made).find("name"), std::string::npos);
}

TEST(Schedule, every_day_written_out_is_no_restriction) {
  CronLists lists{{5}, {1}, {}, {}, {1}};
  for (int day = 1; day <= 31; ++day) lists.day_of_month.push_back(day);
  const auto fields = *cron_of_lists(lists);
  // 23 November 2026 is a Monday.
  EXPECT_EQ(next_due(fields, *find_time_zone("UTC"), at("2026-11-21T00:00:00")), at("2026-11-23T01:05:00"));
  EXPECT_EQ(text_of(lists_of(fields)), "5 1 * * 1");
}

}  // namespace
}  // namespace fused
