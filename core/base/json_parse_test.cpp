#include "base/json_parse.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>

namespace fused {
namespace {

TEST(ParseJson, DoublesAreReadAsTheyAreWritten) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t bits = random();
    double number;
    std::memcpy(&number, &bits, sizeof number);
    if (!std::isfinite(number)) continue;
    char text[64];
    std::snprintf(text, sizeof text, "[%.17g,{\"a\":%.17e}]", number, number);
    const auto value = parse_json(text);
    ASSERT_TRUE(value.has_value()) << text;
    if (const auto& first = value->at(0); first.is_double()) {
      ASSERT_EQ(first.get_double(), number) << text;
    }
    ASSERT_EQ(value->at(1).at("a").get_double(), number) << text;
  }
  EXPECT_EQ(parse_json("98.89257998401081")->get_double(), 98.89257998401081);
  EXPECT_TRUE(std::isinf(parse_json("1e999")->get_double()));
  EXPECT_EQ(parse_json("1e-999")->get_double(), 0.0);
}

TEST(ParseJson, EverythingElseIsAsBoostReadsIt) {
  const std::string text = R"({"s":"é\u00e9\n","n":[1,-1,18446744073709551615,null,true,false,{},[]],"":{"k":[""]}})";
  EXPECT_EQ(boost::json::serialize(*parse_json(text)), boost::json::serialize(boost::json::parse(text)));
  const std::string longer = "\"" + std::string(100'000, 'x') + "\"";
  EXPECT_EQ(parse_json(longer)->get_string().size(), 100'000u);
}

TEST(ParseJson, SaysWhatIsWrongAndWhere) {
  EXPECT_NE(parse_json("18446744073709551616").error().message.find("18446744073709551616 does not fit into 64 bits"),
            std::string::npos);
  EXPECT_NE(parse_json("[-9223372036854775809]").error().message.find("send it as text"), std::string::npos);
  EXPECT_NE(parse_json("[1,]").error().message.find("at byte 3"), std::string::npos);
  for (const char* bad : {"", " ", "[", "{\"a\":1", "1 2", "nul", "\"\xff\"", "[1]x"})
    EXPECT_FALSE(parse_json(bad).has_value()) << bad;
  EXPECT_FALSE(parse_json(std::string(40, '[') + std::string(40, ']')).has_value());
  EXPECT_TRUE(parse_json(std::string(40, '[') + std::string(40, ']'), 64).has_value());
}

}  // namespace
}  // namespace fused
