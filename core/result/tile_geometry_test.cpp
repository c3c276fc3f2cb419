#include "result/tile_geometry.hpp"

#include <gtest/gtest.h>

using namespace fused::result;

TEST(RingIsSimple, convex_and_concave_rings_are) {
  EXPECT_TRUE(ring_is_simple({{0, 0}, {9, 0}, {9, 9}, {0, 9}}));
  EXPECT_TRUE(ring_is_simple({{0, 0}, {0, 9}, {9, 9}, {9, 0}}));
  EXPECT_TRUE(ring_is_simple({{0, 0}, {9, 0}, {9, 9}, {5, 1}, {0, 9}}));
  EXPECT_TRUE(ring_is_simple({{0, 0}, {5, 0}, {9, 0}, {9, 9}}));  // a corner in the middle of an edge
}

TEST(RingIsSimple, crossing_touching_folded_and_flat_rings_are_not) {
  EXPECT_FALSE(ring_is_simple({{0, 0}, {9, 9}, {9, 0}, {0, 9}}));                  // bow tie
  EXPECT_FALSE(ring_is_simple({{0, 0}, {9, 0}, {9, 9}, {5, 0}, {0, 9}}));          // a corner on an edge
  EXPECT_FALSE(ring_is_simple({{0, 0}, {9, 0}, {5, 5}, {9, 9}, {0, 9}, {5, 5}}));  // a corner twice
  EXPECT_FALSE(ring_is_simple({{0, 0}, {9, 0}, {9, 9}, {9, 0}, {0, 9}}));          // a spike
  EXPECT_FALSE(ring_is_simple({{0, 0}, {9, 0}, {5, 0}}));
  EXPECT_FALSE(ring_is_simple({{0, 0}, {9, 0}}));
}

TEST(RingIsSimple, is_exact_at_the_ends_of_the_grid) {
  constexpr int kFar = 1 << 30;
  EXPECT_TRUE(ring_is_simple({{-kFar / 2, -kFar / 2}, {kFar / 2, -kFar / 2}, {kFar / 2, kFar / 2}}));
  EXPECT_FALSE(ring_is_simple({{0, 0}, {kFar / 4, kFar / 4}, {kFar / 2, kFar / 2}}));
}
