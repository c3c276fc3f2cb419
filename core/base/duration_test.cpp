#include "base/duration.hpp"

#include <gtest/gtest.h>

namespace fused {
using std::chrono::seconds;

TEST(Duration, EachUnit) {
  EXPECT_EQ(parse_duration("10s"), seconds(10));
  EXPECT_EQ(parse_duration("3m"), seconds(180));
  EXPECT_EQ(parse_duration("48h"), seconds(172'800));
  EXPECT_EQ(parse_duration("90d"), seconds(7'776'000));
  EXPECT_EQ(parse_duration("0s"), seconds(0));
}

TEST(Duration, RefusesAnythingElseAndNamesIt) {
  for (const char* text : {"", "h", "48", "-1h", "1.5h", "1 h", "1w", "h1", "99999999999999999999d", "36501d", "+1h"}) {
    const auto parsed = parse_duration(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().message.find("'" + std::string(text) + "'"), std::string::npos) << text;
  }
}

TEST(Duration, ShortestText) {
  EXPECT_EQ(format_duration(seconds(7'200)), "2h");
  EXPECT_EQ(format_duration(seconds(90)), "90s");
  EXPECT_EQ(format_duration(seconds(86'400)), "1d");
  EXPECT_EQ(format_duration(seconds(0)), "0s");
}

}  // namespace fused
