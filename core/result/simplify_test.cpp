#include "result/simplify.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

using namespace fused::result;

namespace {

double distance(const PathPoint& p, const PathPoint& a, const PathPoint& b) {
  const double dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
  const double t = length == 0 ? 0 : std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length, 0.0, 1.0);
  return std::hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

double farthest_from(const Path& path, const Path& line, bool closed) {
  double most = 0;
  for (const PathPoint& p : path) {
    double least = INFINITY;
    for (std::size_t i = 0; i + (closed ? 0 : 1) < line.size(); ++i)
      least = std::min(least, distance(p, line[i], line[(i + 1) % line.size()]));
    most = std::max(most, least);
  }
  return most;
}

Path coast(std::mt19937& random, std::size_t points, bool closed) {
  Path path;
  std::normal_distribution<double> step(0, 3);
  PathPoint at{0, 0};
  for (std::size_t i = 0; i < points; ++i) {
    const double angle = 2 * M_PI * static_cast<double>(i) / static_cast<double>(points);
    at = {at.x + step(random), at.y + step(random)};
    path.push_back(closed ? PathPoint{1000 * std::cos(angle) + step(random), 1000 * std::sin(angle) + step(random)}
                          : at);
  }
  return path;
}

}  // namespace

TEST(Simplified, nowhere_strays_by_more_than_the_tolerance) {
  std::mt19937 random(7);
  for (int turn = 0; turn < 100; ++turn)
    for (const bool closed : {false, true}) {
      const Path path = coast(random, 500, closed);
      const Path fewer = simplified(path, 8, closed);
      ASSERT_LT(fewer.size(), path.size() / 2);
      ASSERT_LE(farthest_from(path, fewer, closed), 8 + 4);  // the tolerance, and half of it for near points
    }
}

TEST(Simplified, keeps_the_ends_and_the_corners) {
  const Path line = simplified({{0, 0}, {10, 0.1}, {20, 0}, {20, 10}, {20.1, 20}}, 1, false);
  ASSERT_EQ(line.size(), 3u);
  EXPECT_EQ(line[1].x, 20);
  EXPECT_EQ(line[2].y, 20);
  const Path square = simplified({{0, 0}, {50, 0.2}, {100, 0}, {100, 100}, {50, 100}, {0, 100}}, 1, true);
  EXPECT_EQ(square.size(), 4u);
}

TEST(Simplified, what_is_small_keeps_its_shape) {
  const Path square{{0, 0}, {1, 0}, {1, 1}, {0.5, 1.01}, {0, 1}};
  EXPECT_EQ(simplified(square, 100, true).size(), 4u);
  EXPECT_EQ(simplified({{0, 0}, {1, 0}, {1, 1}, {0, 1}}, 100, true).size(), 4u);
}

TEST(Simplified, what_has_no_extent_or_no_tolerance_stays) {
  EXPECT_EQ(simplified(Path(9, {5, 5}), 4, true).size(), 9u);
  EXPECT_EQ(simplified({{0, 0}, {1, 0}, {2, 0}}, 0, false).size(), 3u);
  EXPECT_TRUE(simplified({}, 4, true).empty());
}
