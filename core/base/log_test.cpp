#include "base/log.hpp"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <cstdio>

#include "base/text.hpp"

namespace fused {
namespace {

// What is logged by `what`, at this format and level.
std::string logged(const std::string& format, const std::string& level, const std::function<void()>& what) {
  std::FILE* file = std::tmpfile();
  EXPECT_TRUE(start_log({format, level, ::fileno(file)}));
  what();
  flush_log();
  std::string text(static_cast<std::size_t>(::lseek(::fileno(file), 0, SEEK_END)), '\0');
  EXPECT_EQ(::pread(::fileno(file), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  EXPECT_TRUE(start_log({}));
  std::fclose(file);
  return text;
}

TEST(Log, OneEventIsOneLineWhateverItHolds) {
  const std::string hostile =
      "a\nlevel=error forged\r\n\x1b[31m\xc2\x9b"
      "31m\xe2\x80\xa8\xff\"quoted\"";
  for (const std::string format : {"text", "json"}) {
    const auto text = logged(format, "info", [&] {
      log_event(spdlog::level::info, "request",
                {{"value", std::string_view(hostile)}, {"count", std::int64_t{3}}, {"ok", true}});
      spdlog::info("plain {}", hostile);
    });
    EXPECT_EQ(std::ranges::count(text, '\n'), 2) << text;
    for (const char c : text) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << format;
    EXPECT_EQ(text.find("\xe2\x80\xa8"), std::string::npos);
    EXPECT_EQ(text.find("\xc2\x9b"), std::string::npos);
    EXPECT_TRUE(is_utf8(text));
  }
}

TEST(Log, JsonLinesAreJson) {
  const auto text = logged("json", "info", [] {
    log_event(spdlog::level::warn, "slow", {{"user", std::string_view("o\"b\\c")}, {"ms", 1.5}});
  });
  const auto line = boost::json::parse(text.substr(0, text.size() - 1)).as_object();
  EXPECT_EQ(line.at("event").as_string(), "slow");
  EXPECT_EQ(line.at("level").as_string(), "warning");
  EXPECT_EQ(line.at("user").as_string(), "o\"b\\c");
  EXPECT_EQ(line.at("ms").as_double(), 1.5);
  EXPECT_EQ(line.at("time").as_string().size(), 27u);
}

TEST(Log, TokensAreCut) {
  const std::string token(64, 'a');
  const auto text = logged("text", "info", [&] {
    spdlog::info("token {}", token);
    log_event(spdlog::level::info, "x", {{"value", std::string_view(token)}});
  });
  EXPECT_EQ(text.find(token.substr(0, 7)), std::string::npos);
  EXPECT_NE(text.find("aaaaaa…"), std::string::npos);
}

TEST(Log, LevelsAreKeptAndUnknownOnesNamed) {
  const auto text = logged("text", "error", [] {
    spdlog::info("not this");
    spdlog::error("this");
  });
  EXPECT_EQ(text.find("not this"), std::string::npos);
  EXPECT_NE(text.find("this"), std::string::npos);
  EXPECT_NE(start_log({"text", "loud", 2}).error().message.find("loud"), std::string::npos);
  EXPECT_NE(start_log({"xml", "info", 2}).error().message.find("xml"), std::string::npos);
}

TEST(Text, Utf8IsCheckedByTheStandardsTable) {
  for (const char* good : {"", "abcdefghijklmnop", "é", "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80",
                           "\xf4\x8f\xbf\xbf", "aaaaaaaé"})
    EXPECT_TRUE(is_utf8(good)) << good;
  for (const char* bad : {"\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "aaaaaaaaaaaa\xff"})
    EXPECT_FALSE(is_utf8(bad));
  EXPECT_EQ(valid_utf8("a\xff"
                       "b\xe2\x82"),
            "a\xef\xbf\xbd"
            "b\xef\xbf\xbd\xef\xbf\xbd");
}

}  // namespace
}  // namespace fused
