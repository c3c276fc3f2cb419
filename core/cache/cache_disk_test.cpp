// The result cache on disks that refuse, and under clocks that jump.
#include <gtest/gtest.h>
#include <sched.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/mount.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <sstream>

#include "cache/cache_test_entry.hpp"
#include "cache/result_cache.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

namespace asio = boost::asio;

class CacheDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = spdlog::default_logger();
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(said_)));
    std::filesystem::create_directory(folder / "cache");
  }
  void TearDown() override {
    spdlog::set_default_logger(before_);
    if (mounted_) ::umount2((folder / "cache").c_str(), MNT_DETACH);
  }
  // A file system of its own for the cache, in a mount namespace of this process; false where that is not allowed.
  bool mount(const char* options, unsigned long flags = 0) {
    if (!mounted_ && (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0))
      return false;
    const unsigned long again = mounted_ ? MS_REMOUNT : 0;
    if (::mount("tmpfs", (folder / "cache").c_str(), "tmpfs", flags | again, options) != 0) return false;
    return mounted_ = true;
  }
  std::unique_ptr<ResultCache> open() {
    ResultCacheOptions options;
    options.disk = {.folder = folder / "cache", .free_bytes_min = 0};
    options.pause_after_trouble = std::chrono::milliseconds(50);
    return ResultCache::open(io, options, clock);
  }
  std::string find(ResultCache& cache, const CacheKey& key) { return found_text(io, cache, key); }
  std::size_t times_said(std::string_view text) {
    spdlog::default_logger()->flush();
    const std::string all = said_.str();
    std::size_t times = 0;
    for (std::size_t at = all.find(text); at != std::string::npos; at = all.find(text, at + 1)) ++times;
    return times;
  }

  TestFolder folder;
  SettableClock clock;
  asio::io_context io;

 private:
  std::ostringstream said_;
  std::shared_ptr<spdlog::logger> before_;
  bool mounted_ = false;
};

TEST_F(CacheDisk, AFolderThatMayOnlyBeReadIsSaidOnceAndResultsAreAnsweredFromMemory) {
  if (!mount("size=1m", MS_RDONLY)) GTEST_SKIP() << "not tested: file systems may not be mounted here";
  const auto cache = open();
  for (int i = 0; i < 5; ++i) cache->put(test_entry(test_key("i" + std::to_string(i)), "value"));
  EXPECT_TRUE(cache->flush(std::chrono::seconds(10)));
  EXPECT_EQ(find(*cache, test_key("i3")), "value");
  EXPECT_EQ(cache->figures().stored, 0u);
  EXPECT_NE(cache->figures().trouble, "");
  EXPECT_EQ(times_said("cached in memory only"), 1u);
}

TEST_F(CacheDisk, AFullDiskIsSaidOnceResultsAreAnsweredAndStoredAgainWhenThereIsRoom) {
  if (!mount("size=256k")) GTEST_SKIP() << "not tested: file systems may not be mounted here";
  const auto body = [](int i) { return std::string(30'000, static_cast<char>('a' + i % 26)); };
  {
    const auto cache = open();
    for (int i = 0; i < 40; ++i) cache->put(test_entry(test_key("i" + std::to_string(i)), body(i)));
    EXPECT_TRUE(cache->flush(std::chrono::seconds(10)));
    for (int i = 0; i < 40; ++i) EXPECT_EQ(find(*cache, test_key("i" + std::to_string(i))), body(i)) << i;
    EXPECT_NE(cache->figures().trouble, "");
    EXPECT_GT(cache->figures().not_stored, 0u);
    EXPECT_EQ(times_said("results are answered and not stored"), 1u);
    ASSERT_TRUE(mount("size=64m"));
    std::this_thread::sleep_for(std::chrono::milliseconds(60));  // the pause after the trouble, by its option
    cache->put(test_entry(test_key("later"), "later"));
    EXPECT_TRUE(cache->flush(std::chrono::seconds(10)));
    EXPECT_EQ(cache->figures().trouble, "");
    EXPECT_EQ(times_said("results are stored again"), 1u);
  }
  const auto cache = open();
  EXPECT_EQ(find(*cache, test_key("later")), "later");
  for (int i = 0; i < 40; ++i) {
    const std::string found = find(*cache, test_key("i" + std::to_string(i)));
    EXPECT_TRUE(found == "(missing)" || found == body(i)) << i;
  }
}

// An hour back, a year ahead, a day back: nothing goes, nothing comes twice.
TEST_F(CacheDisk, AClockThatJumpsRemovesNothing) {
  const auto day = std::chrono::hours(24);
  {
    const auto cache = open();
    for (int i = 0; i < 50; ++i) cache->put(test_entry(test_key("i" + std::to_string(i)), std::string(2'000, 'x')));
    EXPECT_TRUE(cache->flush(std::chrono::seconds(10)));
    const WallTime now = clock.time;
    for (const auto jump : {std::chrono::hours(-1), 365 * day, -day, std::chrono::hours(0)}) {
      clock.time = now + jump;
      cache->put(test_entry(test_key("at " + std::to_string(jump.count())), "y"));
      EXPECT_TRUE(cache->flush(std::chrono::seconds(10)));
      for (int i = 0; i < 50; ++i) EXPECT_NE(find(*cache, test_key("i" + std::to_string(i))), "(missing)") << i;
    }
  }
  for (const auto jump : {365 * day, -day}) {
    clock.time += jump;
    const auto cache = open();
    EXPECT_EQ(cache->figures().disk.entries, 54u);
    EXPECT_EQ(cache->figures().disk.evicted, 0u);
    for (int i = 0; i < 50; ++i) EXPECT_NE(find(*cache, test_key("i" + std::to_string(i))), "(missing)") << i;
  }
}

}  // namespace
}  // namespace fused
