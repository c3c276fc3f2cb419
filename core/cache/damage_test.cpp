// threats-and-faults.md G4: a hundred entries (ten without FUSED_TEST_LONG), cut at every length and with every bit
// flipped: a miss or the right value, never another one.
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

#include "cache/cache_test_entry.hpp"
#include "cache/segments.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

class CacheDamage : public ::testing::Test {
 protected:
  void SetUp() override { spdlog::set_level(spdlog::level::off); }
  static int entries() { return std::getenv("FUSED_TEST_LONG") ? 100 : 10; }
  std::unique_ptr<SegmentStore> open() { return *SegmentStore::open(options, clock); }

  // Bodies of 0 to some hundred bytes, with and without headers, files and functions.
  static std::shared_ptr<CacheEntry> sample(int i) {
    std::string body(static_cast<std::size_t>(i * 7 % 211), static_cast<char>('a' + i % 26));
    auto entry = test_entry(test_key("i" + std::to_string(i), "f", i % 3 ? "" : "3/1/2"), std::move(body), i * 0.01);
    if (i % 2) entry->headers.clear();
    if (i % 4 == 1) entry->files.clear();
    if (i % 5 == 2) entry->functions.push_back({"another", "r" + std::to_string(i)});
    entry->metadata += std::string(static_cast<std::size_t>(i % 9), ' ');
    return entry;
  }
  // The only file below `name` after `entry` was stored.
  std::filesystem::path stored(const CacheEntry& entry, bool sealed, const char* name) {
    std::filesystem::remove_all(options.folder);
    const auto store = open();
    EXPECT_TRUE(store->append(entry));
    if (sealed) store->close();
    for (const auto& file : std::filesystem::recursive_directory_iterator(options.folder / name))
      if (file.is_regular_file()) return file.path();
    return {};
  }
  // 1: the right entry, 0: a miss; anything else fails the test.
  int look(const CacheEntry& right, const char* how, std::size_t at) {
    const auto found = open()->load(right.key.digest);
    if (!found) return 0;
    EXPECT_EQ(found->body.view, right.body.view) << how << at;
    EXPECT_EQ(found->metadata, right.metadata) << how << at;
    EXPECT_EQ(found->status, right.status) << how << at;
    EXPECT_EQ(found->content_type, right.content_type) << how << at;
    EXPECT_EQ(found->headers, right.headers) << how << at;
    EXPECT_EQ(found->functions, right.functions) << how << at;
    EXPECT_EQ(found->files, right.files) << how << at;
    EXPECT_EQ(found->created_ms, right.created_ms) << how << at;
    EXPECT_EQ(found->etag, right.etag) << how << at;
    return 1;
  }

  TestFolder folder;
  SettableClock clock;
  SegmentOptions options{.folder = folder / "cache", .free_bytes_min = 0};
};

TEST_F(CacheDamage, CutAtEveryLengthAnEntryIsAMissOrRight) {
  for (int i = 0; i < entries(); ++i) {
    const auto entry = sample(i);
    const auto path = stored(*entry, i % 2 == 0, "segments");
    const std::string whole = file_text(path);
    int right = 0;
    for (std::size_t length = 0; length < whole.size(); ++length) {
      std::filesystem::remove(path);
      put_file(path, whole.substr(0, length));
      right += look(*entry, "length ", length);
    }
    EXPECT_LT(right, static_cast<int>(whole.size()) / 2) << "what lies behind the record only";
    std::filesystem::remove(path);
    put_file(path, whole);
    EXPECT_EQ(look(*entry, "whole ", 0), 1);
  }
}

TEST_F(CacheDamage, WithAnyBitFlippedAnEntryIsAMissOrRight) {
  for (int i = 0; i < entries(); ++i) {
    const auto entry = sample(i);
    const auto path = stored(*entry, i % 2 == 0, "segments");
    const std::string whole = file_text(path);
    std::size_t right = 0;
    for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
      std::string damaged = whole;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      std::filesystem::remove(path);
      put_file(path, damaged);
      right += static_cast<std::size_t>(look(*entry, "bit ", bit));
    }
    EXPECT_LT(right, whole.size() * 8 / 2);
  }
}

TEST_F(CacheDamage, ALargeBodyIsAMissWithAnyBitOfItsHeadFlippedAndAtAnyOtherLength) {
  const auto entry = test_entry(test_key("i1"), std::string(70'000, 'y'));
  const auto path = stored(*entry, true, "large");
  const std::string whole = file_text(path);
  for (std::size_t bit = 0; bit < (whole.size() - 70'000) * 8; ++bit) {  // head, note and what lies between
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    put_file(path, damaged);
    EXPECT_EQ(look(*entry, "bit ", bit), 0) << bit;
  }
  const std::size_t step = std::getenv("FUSED_TEST_LONG") ? 1 : 10;
  for (std::size_t length = 0; length < whole.size(); length += length < 200 ? 1 : step) {
    put_file(path, whole.substr(0, length));
    EXPECT_EQ(look(*entry, "length ", length), 0) << length;
  }
  put_file(path, whole + 'y');
  EXPECT_EQ(look(*entry, "length ", whole.size() + 1), 0);
  put_file(path, whole);
  EXPECT_EQ(look(*entry, "whole ", 0), 1);
}

}  // namespace
}  // namespace fused
