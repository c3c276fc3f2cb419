#include "cache/result_cache.hpp"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <csignal>
#include <fstream>

#include "cache/cache_test_entry.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

namespace asio = boost::asio;

class ResultCacheTest : public ::testing::Test {
 protected:
  void SetUp() override { spdlog::set_level(spdlog::level::off); }
  std::unique_ptr<ResultCache> open(std::size_t memory_bytes = 1 << 20) {
    ResultCacheOptions options;
    options.disk = {.folder = folder / "cache", .free_bytes_min = 0};
    options.memory_bytes = memory_bytes;
    return ResultCache::open(io, options, clock);
  }
  std::string find(ResultCache& cache, const CacheKey& key) { return found_text(io, cache, key); }

  TestFolder folder;
  SettableClock clock;
  asio::io_context io;
};

TEST_F(ResultCacheTest, WhatIsPutIsFoundAtOnceAndAfterTheStart) {
  const std::string large(200'000, 'l');
  {
    const auto cache = open();
    cache->put(test_entry(test_key("i1"), "one"));
    cache->put(test_entry(test_key("i2"), large));
    EXPECT_EQ(find(*cache, test_key("i1")), "one");
    EXPECT_TRUE(cache->flush(std::chrono::seconds(10)));
    EXPECT_EQ(cache->figures().stored, 2u);
  }
  const auto cache = open();
  EXPECT_EQ(find(*cache, test_key("i1")), "one");
  EXPECT_EQ(find(*cache, test_key("i2")), large);
  EXPECT_EQ(find(*cache, test_key("i2")), large) << "mapped";
  EXPECT_EQ(find(*cache, test_key("i3")), "(missing)");
}

TEST_F(ResultCacheTest, WhatWasForgottenIsGoneInMemoryAndOnDiskAndStaysSo) {
  {
    const auto cache = open();
    for (const auto& key : {test_key("i1"), test_key("i2"), test_key("i1", "g"), test_key("i2", "g", "1/0/0")})
      cache->put(test_entry(key, "x"));
    const auto before = cache->generation(test_key("i1", "g").group);
    cache->forget(test_key("i1").digest);
    cache->forget_group(test_key("i1", "g").group);
    EXPECT_NE(cache->generation(test_key("i1", "g").group), before);
    EXPECT_EQ(find(*cache, test_key("i1")), "(missing)");
    EXPECT_EQ(find(*cache, test_key("i1", "g")), "(missing)");
    cache->put(test_entry(test_key("i3", "g"), "after"));
    EXPECT_TRUE(cache->flush(std::chrono::seconds(10)));
    EXPECT_EQ(find(*cache, test_key("i3", "g")), "after");
  }
  const auto cache = open();
  EXPECT_EQ(find(*cache, test_key("i1")), "(missing)");
  EXPECT_EQ(find(*cache, test_key("i2")), "x");
  EXPECT_EQ(find(*cache, test_key("i1", "g")), "(missing)");
  EXPECT_EQ(find(*cache, test_key("i2", "g", "1/0/0")), "(missing)");
  EXPECT_EQ(find(*cache, test_key("i3", "g")), "after");
}

TEST_F(ResultCacheTest, WhatHasChangedIsSaidAgainstTheMostSimilarKey) {
  const auto cache = open();
  EXPECT_FALSE(cache->changes(test_key("i1")));
  cache->remember(test_key("i1"));
  cache->remember(test_key("i2", "f", "1/0/0"));
  EXPECT_EQ(cache->changes(test_key("i1")), std::vector<std::string>{});
  EXPECT_EQ(cache->changes(test_key("i3")), std::vector<std::string>{"parameter 'n'"});
  EXPECT_EQ(cache->changes(test_key("i2", "f", "1/0/1")), std::vector<std::string>{"tile"});
}

// The kernel refuses to let the file grow, as a full disk does.
TEST_F(ResultCacheTest, OnAFullDiskResultsAreAnsweredFromMemoryAndStoredAgainLater) {
  const auto cache = open();
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  rlimit full = before;
  full.rlim_cur = 100;
  ::setrlimit(RLIMIT_FSIZE, &full);
  cache->put(test_entry(test_key("i1"), std::string(5'000, 'a')));
  cache->put(test_entry(test_key("i2"), std::string(5'000, 'b')));
  EXPECT_TRUE(cache->flush(std::chrono::seconds(10)));
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(find(*cache, test_key("i1")), std::string(5'000, 'a'));
  EXPECT_EQ(cache->figures().stored, 0u);
  EXPECT_EQ(cache->figures().not_stored, 2u);
  EXPECT_FALSE(cache->figures().trouble.empty());
}

TEST_F(ResultCacheTest, AFolderThatIsAFileLeavesTheMemory) {
  put_file(folder / "cache", "x");
  const auto cache = open();
  cache->put(test_entry(test_key("i1"), "one"));
  cache->forget(test_key("i9").digest);
  cache->forget_group(7);
  EXPECT_EQ(find(*cache, test_key("i1")), "one");
  EXPECT_FALSE(cache->figures().trouble.empty());
}

TEST_F(ResultCacheTest, DescriptionsOfTextsAreKeptAndDamagedOnesSkipped) {
  const auto described =
      CodeDescription::of_json(R"({"tree":")" + std::string(64, 'a') +
                               R"(","parameters":[["n","int"]],"rest":null,"sees_caller":false,"cache_max_age":60})");
  ASSERT_TRUE(described) << described.error().message;
  {
    const auto cache = open();
    for (const char* text : {"one", "two", "three"})
      cache->codes().put(digest_of(text), std::make_shared<const CodeDescription>(*described));
  }
  std::string log = file_text(folder / "cache/code.log");
  log[log.size() / 2] = static_cast<char>(log[log.size() / 2] ^ 1);
  put_file(folder / "cache/code.log", log.substr(0, log.size() - 3));
  const auto cache = open();
  const auto one = cache->codes().find(digest_of("one"));
  ASSERT_TRUE(one);
  EXPECT_EQ(one->tree, described->tree);
  EXPECT_EQ(one->cache_max_age_seconds, 60);
  EXPECT_EQ(one->signature.parameters, described->signature.parameters);
  EXPECT_FALSE(cache->codes().find(digest_of("two")));
  EXPECT_FALSE(cache->codes().find(digest_of("three")));
  EXPECT_FALSE(CodeDescription::of_json("{}"));
  EXPECT_FALSE(CodeDescription::of_json(R"({"error":"SyntaxError"})"));
}

TEST_F(ResultCacheTest, AuditRecordsOfHitsAreOneLineForAResultAndAUser) {
  const auto cache = open();
  for (int i = 0; i < 100; ++i)
    cache->hit_log().add({.request_id = "r" + std::to_string(i),
                          .user_email = i % 2 ? "a@x" : "b@x",
                          .udf_name = "f",
                          .cached_from = "run",
                          .state = "hit"});
  ASSERT_TRUE(cache->hit_log().flush());
  std::string all;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "cache/hits")) all += file_text(entry.path());
  EXPECT_GE(std::count(all.begin(), all.end(), '\n'), 2);
  EXPECT_NE(all.find("\"user_email\":\"a@x\""), std::string::npos);
  EXPECT_NE(all.find("\"cached_from\":\"run\""), std::string::npos);
}

// Shown, not judged: how long a start takes, and whether a lookup slows down as rows grow. CACHE_ENTRIES=1000000 for
// the figures of docs/reference/benchmarks.md.
TEST_F(ResultCacheTest, ManyEntriesAreAllThereAfterTheStart) {
  SegmentOptions options{
      .folder = folder / "cache", .bytes_max = 100LL << 30, .free_bytes_min = 0, .entries_max = 20'000'000};
  const int count = std::getenv("CACHE_ENTRIES") ? std::atoi(std::getenv("CACHE_ENTRIES")) : 20'000;
  const auto seconds = [](auto since) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
  };
  const auto name = [](int i) {
    CacheKey key;
    key.digest = Hasher().add(static_cast<std::uint64_t>(i)).finish();
    key.group = 1;
    return key;
  };
  {
    auto store = *SegmentStore::open(options, clock);
    auto since = std::chrono::steady_clock::now();
    for (int i = 0, shown = 1'000; i < count; ++i) {
      ASSERT_TRUE(store->append(*test_entry(name(i), "{\"n\":1}")));
      if (i + 1 != shown) continue;
      const auto begin = std::chrono::steady_clock::now();
      for (int j = 0; j < 100'000; ++j)
        ASSERT_TRUE(store->index().find(name(static_cast<int>((j * 7919LL) % shown)).digest, 0));
      std::printf("%9d rows: %.0f ns a lookup with its digest\n", shown, seconds(begin) * 1e4);
      shown *= 10;
    }
    std::printf("%9d entries written in %.2f s\n", count, seconds(since));
    store->close();
  }
  const auto since = std::chrono::steady_clock::now();
  auto store = *SegmentStore::open(options, clock);
  const double took = seconds(since);
  EXPECT_EQ(store->figures().entries, static_cast<std::size_t>(count));
  for (int i = 0; i < count; i += 997) EXPECT_EQ(store->load(name(i).digest)->body.view, "{\"n\":1}");
  std::printf("%9zu entries after a start of %.3f s\n", store->figures().entries, took);
}

}  // namespace
}  // namespace fused
