#include "cache/memory_cache.hpp"

#include <gtest/gtest.h>

#include "cache/cache_test_entry.hpp"

namespace fused {
namespace {

SharedCacheEntry numbered(int n) { return test_entry(test_key("i" + std::to_string(n)), "x"); }

TEST(MemoryCache, WhatIsPutIsFoundAndItsWeightCounted) {
  MemoryCache cache(100'000);
  const auto entry = numbered(1);
  cache.put(entry, 500);
  EXPECT_EQ(cache.find(entry->key.digest), entry);
  EXPECT_EQ(cache.bytes(), 500u);
  cache.put(entry, 600);
  EXPECT_EQ(cache.bytes(), 600u);
  EXPECT_TRUE(cache.erase(entry->key.digest));
  EXPECT_FALSE(cache.erase(entry->key.digest));
  EXPECT_EQ(cache.find(entry->key.digest), nullptr);
  EXPECT_EQ(cache.bytes(), 0u);
}

TEST(MemoryCache, ItStaysWithinItsBytesAndRefusesWhatIsTooLarge) {
  MemoryCache cache(100'000);
  for (int n = 0; n < 5'000; ++n) {
    cache.put(numbered(n), 1'000);
    ASSERT_LE(cache.bytes(), 100'000u);
  }
  EXPECT_GT(cache.bytes(), 90'000u);
  cache.put(numbered(-1), 20'000);
  EXPECT_EQ(cache.find(numbered(-1)->key.digest), nullptr);
}

// A map that is panned over thousands of tiles, beside a few that everybody asks for.
TEST(MemoryCache, APanOverManyTilesLeavesTheOnesThatAreAskedFor) {
  MemoryCache cache(100'000);
  for (int round = 0; round < 5; ++round)
    for (int n = 0; n < 50; ++n)
      if (!cache.find(numbered(n)->key.digest)) cache.put(numbered(n), 1'000);
  for (int n = 1'000; n < 11'000; ++n)
    if (!cache.find(numbered(n)->key.digest)) cache.put(numbered(n), 1'000);
  int left = 0;
  for (int n = 0; n < 50; ++n) left += cache.find(numbered(n)->key.digest) != nullptr;
  EXPECT_GE(left, 45);
}

TEST(MemoryCache, WhatBecomesPopularGetsIn) {
  MemoryCache cache(100'000);
  for (int n = 0; n < 200; ++n)
    for (int times = 0; times < 3; ++times)
      if (!cache.find(numbered(n)->key.digest)) cache.put(numbered(n), 1'000);
  const auto hot = numbered(999);
  for (int times = 0; times < 30; ++times) {
    if (!cache.find(hot->key.digest)) cache.put(hot, 1'000);
    cache.put(numbered(2'000 + times), 1'000);
  }
  EXPECT_NE(cache.find(hot->key.digest), nullptr);
}

TEST(MemoryCache, AFunctionOrATileIsForgotten) {
  MemoryCache cache(1'000'000);
  const auto tile = [](const std::string& at) -> SharedCacheEntry {
    return test_entry(test_key("i1", "tiles", at), "x");
  };
  for (const auto& entry : {tile("1/0/0"), tile("1/0/1"), numbered(1)}) cache.put(entry, 1'000);
  cache.erase_group(tile("1/0/0")->key.tile_group);
  EXPECT_EQ(cache.size(), 2u);
  cache.erase_group(tile("1/0/1")->key.group);
  EXPECT_EQ(cache.size(), 1u);
  EXPECT_NE(cache.find(numbered(1)->key.digest), nullptr);
}

}  // namespace
}  // namespace fused
