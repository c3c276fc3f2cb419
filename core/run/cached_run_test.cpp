#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "logs/run_record.hpp"
#include "run/cached_run_age.hpp"
#include "run/cached_run_failure.hpp"
#include "run/cached_run_uses.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

constexpr std::int64_t kHour = 3'600, kDay = 24 * kHour, kNow = 1'800'000'000;

ResultAge aged(std::int64_t seconds, std::int64_t max_age = kHour, std::int64_t stale = 0) {
  return result_age((kNow - seconds) * 1000, kNow * 1000, max_age, stale);
}

TEST(ResultAge, AResultIsFreshWhileItIsYoungerThanTheCallAllows) {
  EXPECT_TRUE(aged(0).is_fresh);
  EXPECT_TRUE(aged(kHour - 1).is_fresh);
  EXPECT_FALSE(aged(kHour).is_fresh);
  EXPECT_FALSE(aged(0, 0).is_fresh) << "0s means never";
  EXPECT_TRUE(aged(kHour, kHour, 60).is_stale);
  EXPECT_FALSE(aged(kHour + 60, kHour, 60).is_stale);
}

TEST(ResultAge, AClockThatWasSetBackMakesNothingYoungerThanNow) {
  EXPECT_EQ(aged(-kHour).seconds, 0);
  EXPECT_TRUE(aged(-kHour).is_fresh);
  EXPECT_TRUE(aged(-kDay, kHour).is_fresh) << "a day is believed";
  EXPECT_TRUE(aged(-kDay - 1, kHour, kDay).is_future);
  EXPECT_FALSE(aged(-kDay - 1).is_fresh);
  EXPECT_FALSE(aged(-365 * kDay, 90 * kDay, kDay).is_stale);
}

TEST(ResultAge, AClockThatRanAYearAheadMakesMisses) {
  EXPECT_FALSE(aged(365 * kDay, 90 * kDay).is_fresh);
  EXPECT_EQ(aged(365 * kDay).seconds, 365 * kDay);
}

TEST(CachedFailure, WhatWasStoredComesBack) {
  RunOutcome failed;
  failed.outcome = "user_error";
  failed.error_class = "ValueError";
  failed.error_message = "no \"such\"\ncity";
  failed.traceback = "Traceback …";
  EXPECT_TRUE(is_failure_of_code(failed));
  RunOutcome back;
  ASSERT_TRUE(restore_failure(failure_text(failed), back));
  EXPECT_EQ(back.outcome, failed.outcome);
  EXPECT_EQ(back.error_class, failed.error_class);
  EXPECT_EQ(back.error_message, failed.error_message);
  EXPECT_EQ(back.traceback, failed.traceback);
  for (const char* machine : {"ok", "timeout", "out_of_memory", "crashed", "cancelled", "limit_exceeded"}) {
    failed.outcome = machine;
    EXPECT_FALSE(is_failure_of_code(failed)) << machine;
    EXPECT_FALSE(restore_failure(failure_text(failed), back)) << machine;
  }
  for (const char* text : {"", "{}", "[1]", R"({"outcome":"user_error"})"}) EXPECT_FALSE(restore_failure(text, back));
}

TEST(RunUses, ThousandsOfFilesAreKeptAndOneMoreIsSaid) {
  RunUses uses;
  for (std::size_t i = 0; i < kUsedFilesMax; ++i) uses.add(FileUse{"/mount/" + std::to_string(i), 1, 2, 3});
  uses.add(FileUse{"/mount/7", 1, 2, 3});
  EXPECT_EQ(uses.files.size(), kUsedFilesMax);
  EXPECT_EQ(uses.not_stored, "");
  RunUses other;
  other.add(uses);
  other.add(FileUse{"/mount/one more", 1, 2, 3});
  EXPECT_EQ(other.files.size(), kUsedFilesMax);
  EXPECT_EQ(other.not_stored, "it read more than 4096 files");
}

TEST(RunUses, AFileThatChangedWhileItWasReadIsSaid) {
  RunUses uses;
  uses.add(FileUse{"/mount/a", 1, 2, 3});
  uses.add(FileUse{"/mount/a", 1, 9, 3});
  EXPECT_EQ(uses.not_stored, "file '/mount/a' changed while it was read");
  EXPECT_EQ(uses.files.size(), 1u);
}

TEST(RunUses, WhatDoesNotFitIntoTheLogIsCounted) {
  RunUses uses;
  for (std::size_t i = 0; i < 2'000; ++i) uses.add(FileUse{"/mount/" + std::string(300, 'x') + std::to_string(i)});
  const std::string json = files_json(uses);
  EXPECT_LE(json.size(), kLoggedFilesBytesMax);
  const auto list = boost::json::parse(json).as_array();
  EXPECT_EQ(list.size() - 1 + list.back().as_object().at("left_out").to_number<std::size_t>(), 2'000u);
  EXPECT_EQ(files_json(RunUses{}), "");
}

TEST(RunUses, FunctionsAreListedForTheLog) {
  RunUses uses;
  uses.add(FunctionUse{"id", "r1"});
  uses.add(FunctionUse{"id", "r1"});
  EXPECT_EQ(functions_json(uses), R"([{"id":"id","revision":"r1"}])");
  EXPECT_EQ(functions_json(RunUses{}), "");
}

TEST(UseCheck, NamesWhatHasChanged) {
  TestFolder folder;
  put_file(folder / "a", "text");
  const UseCheck check(
      folder.path(), [](const std::string& id) { return id == "f" ? std::optional(std::string("2")) : std::nullopt; });
  EXPECT_EQ(check.changed(std::vector<FunctionUse>{{"f", "2"}}), "");
  EXPECT_EQ(check.changed(std::vector<FunctionUse>{{"f", "1"}}), "function 'f'");
  EXPECT_EQ(check.changed(std::vector<FunctionUse>{{"gone", "1"}}), "function 'gone'");
  EXPECT_EQ(check.changed(std::vector<FileUse>{{"/mount/none"}}), "") << "it was not there and is not";
  EXPECT_EQ(check.changed(std::vector<FileUse>{{"/mount/a", 4, 1, 1}}), "file '/mount/a'");
  EXPECT_EQ(check.changed(std::vector<FileUse>{{"/mount/../etc/passwd"}}),
            "file '/mount/../etc/passwd' (not below /mount)");
  EXPECT_EQ(check.changed(std::vector<FileUse>{{"/etc/passwd"}}), "file '/etc/passwd' (not below /mount)");
}

}  // namespace
}  // namespace fused
