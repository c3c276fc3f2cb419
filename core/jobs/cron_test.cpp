#include "jobs/cron.hpp"

#include <gtest/gtest.h>

namespace fused {
namespace {

WallTime at(const std::string& text, const std::string& zone = "UTC") {
  cctz::time_point<cctz::seconds> time;
  EXPECT_TRUE(cctz::parse("%Y-%m-%d %H:%M", text, *find_time_zone(zone), &time)) << text;
  return time;
}

std::string next(const std::string& cron, const std::string& after, const std::string& zone = "UTC") {
  const auto fields = parse_cron(cron);
  EXPECT_TRUE(fields.has_value()) << fields.error().message;
  const auto due = next_due(*fields, *find_time_zone(zone), at(after, zone));
  return due ? cctz::format("%Y-%m-%d %H:%M %z", *due, *find_time_zone(zone)) : "never";
}

TEST(Cron, FindsTheNextMinuteThatMatchesEveryField) {
  EXPECT_EQ(next("*/15 * * * *", "2026-11-21 10:15"), "2026-11-21 10:30 +0000");
  EXPECT_EQ(next("0 6 * * mon-fri", "2026-11-21 10:15"), "2026-11-23 06:00 +0000");  // a Saturday
  EXPECT_EQ(next("59 23 31 12 *", "2026-12-31 23:59"), "2027-12-31 23:59 +0000");
  EXPECT_EQ(next("0 0 29 feb *", "2026-11-21 10:15"), "2028-02-29 00:00 +0000");
  EXPECT_EQ(next("0 12 * * 7", "2026-11-21 10:15"), "2026-11-22 12:00 +0000");
  EXPECT_EQ(next("@hourly", "2026-11-21 10:15"), "2026-11-21 11:00 +0000");
  EXPECT_EQ(next("0 0 31 2 *", "2026-11-21 10:15"), "never");
}

TEST(Cron, EitherDayMatchesWhereBothAreGiven) {
  EXPECT_EQ(next("0 0 25 * sun", "2026-11-21 10:15"), "2026-11-22 00:00 +0000");
  EXPECT_EQ(next("0 0 25 * sun", "2026-11-22 10:15"), "2026-11-25 00:00 +0000");
}

TEST(Cron, ATimeThatTheClocksJumpOverIsDueAtTheJumpOnce) {
  // Zurich, 2026-03-29: 02:00 becomes 03:00.
  EXPECT_EQ(next("30 2 * * *", "2026-03-29 00:00", "Europe/Zurich"), "2026-03-29 03:00 +0200");
  EXPECT_EQ(next("10,30 2 * * *", "2026-03-29 03:00", "Europe/Zurich"), "2026-03-30 02:10 +0200");
  EXPECT_EQ(next("0 * * * *", "2026-03-29 01:30", "Europe/Zurich"), "2026-03-29 03:00 +0200");
}

TEST(Cron, ATimeThatComesTwiceIsDueOnceUnlessEveryHourIs) {
  // Zurich, 2026-10-25: 03:00 becomes 02:00.
  EXPECT_EQ(next("30 2 * * *", "2026-10-25 00:00", "Europe/Zurich"), "2026-10-25 02:30 +0200");
  const auto zone = *find_time_zone("Europe/Zurich");
  const auto once = *parse_cron("30 2 * * *"), hourly = *parse_cron("30 * * * *");
  const WallTime first = at("2026-10-25 00:30", "UTC");  // 02:30 +0200
  EXPECT_EQ(*next_due(once, zone, first), at("2026-10-26 01:30", "UTC"));
  EXPECT_EQ(*next_due(hourly, zone, first), at("2026-10-25 01:30", "UTC"));  // 02:30 +0100
}

TEST(Cron, ADayOfMinutesHasEachMinuteOnceWhateverTheClocksDo) {
  const auto zone = *find_time_zone("Europe/Zurich");
  const auto fields = *parse_cron("* * * * *");
  for (const char* day : {"2026-03-28 23:00", "2026-10-24 23:00", "2026-06-01 00:00"}) {
    WallTime time = at(day);
    for (int i = 0; i < 27 * 60; ++i) {
      const auto due = next_due(fields, zone, time);
      ASSERT_EQ(*due - time, std::chrono::minutes(1)) << day << " " << i;
      time = *due;
    }
  }
}

TEST(Cron, NamesTheFieldAndWhatItMayHold) {
  const auto message = [](const std::string& text) {
    const auto fields = parse_cron(text);
    EXPECT_FALSE(fields.has_value()) << text;
    return fields ? std::string() : fields.error().message;
  };
  EXPECT_NE(message("61 * * * *").find("cron minute is '61'; allowed are 0 to 59"), std::string::npos);
  EXPECT_NE(message("0 24 * * *").find("hour is '24'"), std::string::npos);
  EXPECT_NE(message("0 0 0 * *").find("day of month is '0'"), std::string::npos);
  EXPECT_NE(message("0 0 * 13 *").find("month is '13'"), std::string::npos);
  EXPECT_NE(message("0 0 * * caturday").find("names (sun"), std::string::npos);
  EXPECT_NE(message("0 0 * *").find("has 4 fields"), std::string::npos);
  for (const char* bad : {"", "5-1 * * * *", "*/0 * * * *", "1/2 * * * *", "1,,2 * * * *", "-1 * * * *", "@reboot"})
    message(bad);
  EXPECT_FALSE(cron_of_lists({{}, {}, {}, {}, {}}).has_value());
  EXPECT_FALSE(cron_of_lists({{61}, {}, {}, {}, {}}).has_value());
  EXPECT_FALSE(find_time_zone("Mars/Olympus").has_value());
}

TEST(Cron, ListsComeBackAsTheyWereGiven) {
  const CronLists lists{{0, 30}, {6}, {}, {1, 12}, {0, 6}};
  const auto back = lists_of(*cron_of_lists(lists));
  EXPECT_EQ(back.minute, lists.minute);
  EXPECT_EQ(back.hour, lists.hour);
  EXPECT_EQ(back.day_of_month, lists.day_of_month);
  EXPECT_EQ(back.month, lists.month);
  EXPECT_EQ(back.day_of_week, lists.day_of_week);
}

}  // namespace
}  // namespace fused
