#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <set>

#include "logs/run_record.hpp"
#include "run/cached_run_age.hpp"
#include "run/cached_run_environment.hpp"
#include "run/cached_run_failure.hpp"
#include "run/cached_run_uses.hpp"
#include "run/key_memory.hpp"
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

struct MovingClock : Clock {
  SteadyTime time{};
  SteadyTime steady() const override { return time; }
};

// A virtual environment as the digest looks at one.
TEST(EnvironmentDigest, IsAnotherOneAfterAPackageCameChangedOrWent) {
  TestFolder folder;
  const auto site = folder / "venv/lib/python3.11/site-packages";
  const auto make = [&](const char* name) { std::filesystem::create_directories(site / name); };
  make("numpy");
  make("numpy-2.1.0.dist-info");
  std::filesystem::create_directories(folder / "venv/bin");
  put_file(folder / "venv/bin/python", "x");
  put_file(folder / "venv/pyvenv.cfg", "include-system-site-packages = false\n");
  MovingClock clock;
  EnvironmentDigest environment(folder / "venv/bin/python", "1.0", folder / "package", clock);
  std::set<std::string> seen{environment.current().hex()};
  const auto later = [&] {
    clock.time += std::chrono::seconds(10);
    return environment.current().hex();
  };
  EXPECT_TRUE(seen.contains(later())) << "nothing has changed";
  make("geopandas-1.1.0.dist-info");
  EXPECT_TRUE(seen.contains(environment.current().hex())) << "looked at every few seconds";
  EXPECT_TRUE(seen.insert(later()).second) << "installed";
  std::filesystem::rename(site / "numpy-2.1.0.dist-info", site / "numpy-2.2.0.dist-info");
  EXPECT_TRUE(seen.insert(later()).second) << "another version";
  std::filesystem::remove_all(site / "numpy");
  EXPECT_TRUE(seen.insert(later()).second) << "removed";
  put_file(site / "module.py", "x");
  EXPECT_TRUE(seen.insert(later()).second) << "a module without a package";
  put_file(folder / "venv/bin/python", "another interpreter");
  EXPECT_TRUE(seen.insert(later()).second);
  EnvironmentDigest newer(folder / "venv/bin/python", "1.1", folder / "package", clock);
  EXPECT_TRUE(seen.insert(newer.current().hex()).second) << "another version of this server";
}

TEST(KeyMemory, ACallIsKnownWordForWordAndWhileItsFunctionIsThere) {
  KeyMemory keys;
  const auto code = std::make_shared<CodeDescription>();
  const Digest environment = digest_of("here");
  RunRequest call;
  call.function = std::make_shared<FunctionSource>();
  call.query = {{"n", "3"}, {"m", "4"}};
  call.format.preferences = {"json"};
  const auto text = [&](const RunRequest& request) { return KeyMemory::text_of(request, environment); };
  std::set<std::string> texts{text(call)};
  const auto other = [&](auto change) {
    RunRequest changed = call;
    change(changed);
    EXPECT_TRUE(texts.insert(text(changed)).second);
  };
  other([](auto& c) { c.query = {{"n", "3"}}; });
  other([](auto& c) { c.query = {{"n", "3m"}, {"", "4"}}; });
  other([](auto& c) { c.query = {{"m", "4"}, {"n", "3"}}; });
  other([](auto& c) { c.format.preferences = {"json", "csv"}; });
  other([](auto& c) { c.format.from = "query"; });
  other([](auto& c) { c.format.dtype_out = DtypeOut{"csv", "png"}; });
  other([](auto& c) { c.tile = TileId{1, 0, 1}; });
  other([](auto& c) { c.tile = TileId{1, 1, 0}; });
  other([](auto& c) { c.async_client = true; });
  other([](auto& c) { c.function = std::make_shared<FunctionSource>(*c.function); });
  EXPECT_TRUE(texts.insert(KeyMemory::text_of(call, digest_of("other packages"))).second);
  RunRequest typed = call;
  typed.typed["k"] = 1;
  EXPECT_EQ(text(typed), "") << "parameters as JSON are not compared here";
  RunRequest large = call;
  large.query = {{"n", std::string(KeyMemory::kCallBytesMax, 'x')}};
  EXPECT_EQ(text(large), "");

  CacheKey key;
  key.digest = digest_of("key");
  keys.put(text(call), call, code, key);
  ASSERT_NE(keys.find(text(call), call), nullptr);
  EXPECT_EQ(keys.find(text(call), call)->key.digest, key.digest);
  const auto seeing = std::make_shared<CodeDescription>();
  seeing->sees_caller = true;
  RunRequest shown = call;
  shown.query = {{"who", "asks"}};
  keys.put(text(shown), shown, seeing, key);
  EXPECT_EQ(keys.find(text(shown), shown), nullptr) << "who asks is in that key";
  const std::string before = text(call);
  RunRequest another = call;
  another.function = std::make_shared<FunctionSource>();
  call.function.reset();
  EXPECT_EQ(keys.find(before, another), nullptr) << "its function is gone: another may lie in its place";
  for (std::size_t i = 0; i < 2 * KeyMemory::kCallsMax; ++i) {
    another.query = {{"n", std::to_string(i)}};
    keys.put(text(another), another, code, key);
  }
  EXPECT_LE(keys.size(), KeyMemory::kCallsMax);
}

}  // namespace
}  // namespace fused
