#include "geo/tile.hpp"

#include <gtest/gtest.h>

#include <limits>

using namespace fused;

TEST(Tile, a_number_outside_the_zoom_is_404_and_named) {
  for (auto [z, x, y] : {std::tuple<std::int64_t, std::int64_t, std::int64_t>{-1, 0, 0},
                         {25, 0, 0},
                         {3, 8, 0},
                         {3, 0, 8},
                         {3, -1, 0},
                         {0, 0, -1},
                         {24, std::int64_t{1} << 24, 0},
                         {std::numeric_limits<std::int64_t>::max(), 0, 0},
                         {3, std::numeric_limits<std::int64_t>::min(), 0}}) {
    auto tile = check_tile(z, x, y);
    ASSERT_FALSE(tile) << z << "/" << x << "/" << y;
    EXPECT_EQ(tile.error().kind, ErrorKind::not_found);
    EXPECT_NE(tile.error().message.find(std::to_string(z)), std::string::npos);
  }
}

TEST(Tile, every_corner_of_the_deepest_zoom_exists) {
  const std::int64_t last = (std::int64_t{1} << 24) - 1;
  for (auto x : {std::int64_t{0}, last})
    for (auto y : {std::int64_t{0}, last}) EXPECT_TRUE(check_tile(24, x, y));
}

TEST(Tile, the_world_tile_covers_the_mercator_square) {
  const Box box = tile_bounds({0, 0, 0});
  EXPECT_EQ(box.minx, -180.0);
  EXPECT_EQ(box.maxx, 180.0);
  EXPECT_NEAR(box.maxy, 85.0511287798066, 1e-12);
  EXPECT_EQ(box.miny, -box.maxy);
  const Box metres = tile_bounds_mercator({0, 0, 0});
  EXPECT_NEAR(metres.maxx, 20037508.342789244, 1e-6);
  EXPECT_EQ(metres.minx, -metres.maxx);
  EXPECT_EQ(metres.miny, -metres.maxy);
}

TEST(Tile, a_known_tile_has_the_bounds_other_libraries_give) {
  const Box box = tile_bounds({10, 163, 395});  // San Francisco, as mercantile 1.2.1 prints it
  EXPECT_NEAR(box.minx, -122.6953125, 1e-12);
  EXPECT_NEAR(box.miny, 37.71859032558814, 1e-10);
  EXPECT_NEAR(box.maxx, -122.34375, 1e-12);
  EXPECT_NEAR(box.maxy, 37.996162679728116, 1e-10);
}

TEST(Tile, neighbours_share_their_edges_exactly_at_every_zoom) {
  for (int z = 1; z <= kTileZoomMax; ++z) {
    const std::int64_t at = (std::int64_t{1} << z) / 3;
    EXPECT_EQ(tile_bounds({z, at, at}).maxx, tile_bounds({z, at + 1, at}).minx);
    EXPECT_EQ(tile_bounds({z, at, at}).miny, tile_bounds({z, at, at + 1}).maxy);
    EXPECT_EQ(tile_bounds_mercator({z, at, at}).miny, tile_bounds_mercator({z, at, at + 1}).maxy);
    EXPECT_LT(tile_bounds({z, at, at}).miny, tile_bounds({z, at, at}).maxy);
  }
}
