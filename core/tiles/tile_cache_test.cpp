#include "tiles/tile_cache.hpp"

#include <gtest/gtest.h>

namespace fused {
namespace {

CachedTile tile(std::size_t bytes) { return {Bytes::of(std::string(bytes, 't')), "rows"}; }

TEST(TileCacheTest, the_least_recently_used_goes_first) {
  TileCache cache(10'000);
  for (int i = 0; i < 8; ++i) cache.put("tile" + std::to_string(i), tile(1'000));
  ASSERT_NE(cache.find("tile0"), nullptr);
  cache.put("more", tile(1'000));  // with what it costs to keep them eight have room
  EXPECT_NE(cache.find("tile0"), nullptr);
  EXPECT_EQ(cache.find("tile1"), nullptr);
  EXPECT_NE(cache.find("more"), nullptr);
  EXPECT_LE(cache.bytes(), 10'000U);
}

TEST(TileCacheTest, one_tile_cannot_take_the_whole_of_it) {
  TileCache cache(10'000);
  cache.put("small", tile(10));
  cache.put("large", tile(5'000));
  EXPECT_EQ(cache.find("large"), nullptr);
  EXPECT_NE(cache.find("small"), nullptr);
}

TEST(TileCacheTest, what_is_kept_does_not_hold_what_it_came_in) {
  TileCache cache(10'000);
  auto whole = std::make_shared<const std::string>(100'000, 'x');
  const std::weak_ptr<const std::string> watched = whole;
  cache.put("part", {{whole, std::string_view(*whole).substr(0, 50)}, "rows"});
  whole.reset();
  EXPECT_TRUE(watched.expired());
  ASSERT_NE(cache.find("part"), nullptr);
  EXPECT_EQ(cache.find("part")->body.view, std::string(50, 'x'));
}

TEST(TileCacheTest, a_tile_that_is_there_stays) {
  TileCache cache(10'000);
  cache.put("a", tile(10));
  const std::size_t bytes = cache.bytes();
  cache.put("a", tile(20));
  EXPECT_EQ(cache.bytes(), bytes);
  EXPECT_EQ(cache.find("a")->body.view.size(), 10U);
}

}  // namespace
}  // namespace fused
