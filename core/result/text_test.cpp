#include "result/text.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

using namespace fused::result;

namespace {

std::string json(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}
std::string number(double value) {
  std::string out;
  append_json_number(out, value);
  return out;
}
std::string fixed(double value, int decimals = 7) {
  std::string out;
  append_fixed(out, value, decimals);
  return out;
}
std::string timestamp(std::int64_t ticks, int digits) {
  std::string out;
  append_timestamp(out, ticks, digits);
  return out;
}

}  // namespace

TEST(JsonText, what_json_must_escape_is_escaped_and_nothing_else) {
  EXPECT_EQ(json("plain ü€😀"), "\"plain ü€😀\"");
  EXPECT_EQ(json("\"\\\b\f\n\r\t\x01\x7f"), R"("\"\\\b\f\n\r\t\u0001\u007f")");
  EXPECT_EQ(json(std::string_view("\0", 1)), R"("\u0000")");
}

TEST(JsonText, bytes_that_are_not_utf8_become_the_replacement_character) {
  EXPECT_EQ(json("a\xff"
                 "b"),
            "\"a\xef\xbf\xbd"
            "b\"");
  EXPECT_EQ(json("\xc3"), "\"\xef\xbf\xbd\"");                                  // cut off
  EXPECT_EQ(json("\xc0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");                  // overlong
  EXPECT_EQ(json("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");  // surrogate
  EXPECT_EQ(json("\xf4\x90\x80\x80").size(), 2 + 4 * 3u);                       // beyond U+10FFFF
}

TEST(JsonText, what_was_escaped_reads_back) {
  for (std::string_view text : {"", "a", "\"q\" \\ \n\t\b\f\r\x01\x7f", "ü"})
    EXPECT_EQ(text_of_json_string(json(text)), text);
}

TEST(JsonText, numbers_are_shortest_and_floats_stay_floats) {
  EXPECT_EQ(number(0.1), "0.1");
  EXPECT_EQ(number(1.0), "1.0");
  EXPECT_EQ(number(-0.0), "-0.0");
  EXPECT_EQ(number(1e300), "1e+300");
  EXPECT_EQ(number(std::nan("")), "null");
  EXPECT_EQ(number(std::numeric_limits<double>::infinity()), "null");
}

TEST(JsonText, fixed_numbers_have_no_noise_no_trailing_zeros_and_no_minus_zero) {
  EXPECT_EQ(fixed(0.1 + 0.2), "0.3");
  EXPECT_EQ(fixed(-1e-9), "0");
  EXPECT_EQ(fixed(-12.50), "-12.5");
  EXPECT_EQ(fixed(180), "180");
  EXPECT_EQ(fixed(0.00000009), "0.0000001");
  EXPECT_EQ(fixed(1e20), "1e+20");
  EXPECT_EQ(fixed(std::nan("")), "null");
}

TEST(JsonText, times_are_iso_8601_before_and_after_1970) {
  EXPECT_EQ(timestamp(0, 9), "1970-01-01T00:00:00");
  EXPECT_EQ(timestamp(-1, 9), "1969-12-31T23:59:59.999999999");
  EXPECT_EQ(timestamp(-1, 0), "1969-12-31T23:59:59");
  EXPECT_EQ(timestamp(1'500, 3), "1970-01-01T00:00:01.500");
  EXPECT_EQ(timestamp(951'782'400, 0), "2000-02-29T00:00:00");
  EXPECT_EQ(timestamp(-62'135'596'800, 0), "0001-01-01T00:00:00");
  EXPECT_EQ(timestamp(std::numeric_limits<std::int64_t>::max(), 9), "2262-04-11T23:47:16.854775807");
  EXPECT_EQ(timestamp(std::numeric_limits<std::int64_t>::min(), 0), "-292277022657-01-27T08:29:52");
  EXPECT_EQ(timestamp(std::numeric_limits<std::int64_t>::min() + 1, 9), "1677-09-21T00:12:43.145224193");
}

TEST(JsonText, base64_is_padded) {
  std::string out;
  for (std::string_view text : {"", "f", "fo", "foo", "\xff\xfe\xfd"}) {
    append_base64(out, text);
    out += '|';
  }
  EXPECT_EQ(out, "|Zg==|Zm8=|Zm9v|//79|");
}
