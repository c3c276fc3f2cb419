// Measures agree with what can be worked out by hand, on every way through the code.
#include "geo/measure.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace fused {
namespace {

struct Wkb {
  std::string bytes;
  bool big = false;
  Wkb& u8(std::uint8_t value) {
    bytes += static_cast<char>(value);
    return *this;
  }
  Wkb& u32(std::uint32_t value) { return raw(big ? __builtin_bswap32(value) : value); }
  Wkb& f64(double value) {
    auto bits = std::bit_cast<std::uint64_t>(value);
    return raw(big ? __builtin_bswap64(bits) : bits);
  }
  template <class T>
  Wkb& raw(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Wkb& head(std::uint32_t type) { return u8(big ? 0 : 1).u32(type); }
  Wkb& ring(const std::vector<std::pair<double, double>>& points, int extra = 0) {
    u32(static_cast<std::uint32_t>(points.size()));
    for (const auto& [x, y] : points) {
      f64(x).f64(y);
      for (int i = 0; i < extra; ++i) f64(7);
    }
    return *this;
  }
};

const std::vector<std::pair<double, double>> kSquare{{10, 10}, {14, 10}, {14, 14}, {10, 14}, {10, 10}};
const std::vector<std::pair<double, double>> kHole{{11, 11}, {11, 12}, {12, 12}, {12, 11}, {11, 11}};

Result<Measures> measure(const std::string& bytes) {
  return measure_wkb({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
}

TEST(measure, a_polygon_with_a_hole_in_every_form) {
  for (const bool big : {false, true})
    for (const std::uint32_t dimensions : {0U, 1000U, 3000U}) {
      const int extra = dimensions == 3000 ? 2 : dimensions != 0;
      Wkb wkb{.bytes = {}, .big = big};
      wkb.head(3 + dimensions).u32(2).ring(kSquare, extra).ring(kHole, extra);
      const auto m = measure(wkb.bytes);
      ASSERT_TRUE(m.has_value());
      EXPECT_DOUBLE_EQ(m->area, 15);
      EXPECT_DOUBLE_EQ(m->length, 20);
      EXPECT_EQ(m->coords, 10U);
      EXPECT_EQ(m->box, (Box{10, 10, 14, 14}));
      EXPECT_NEAR(m->cx, (16 * 12 - 11.5) / 15, 1e-12);
      EXPECT_EQ(m->has_z, dimensions != 0);
      EXPECT_EQ(m->has_m, dimensions == 3000);
    }
}

TEST(measure, parts_add_up_and_the_highest_dimension_has_the_centroid) {
  Wkb two;
  two.head(6).u32(2).head(3).u32(1).ring(kSquare).head(3).u32(1).ring({{0, 0}, {2, 0}, {2, 2}, {0, 2}, {0, 0}});
  const auto m = measure(two.bytes);
  ASSERT_TRUE(m.has_value());
  EXPECT_DOUBLE_EQ(m->area, 20);
  EXPECT_NEAR(m->cx, (16 * 12.0 + 4 * 1.0) / 20, 1e-12);
  Wkb mixed;
  mixed.head(7).u32(2).head(1).f64(100).f64(50).head(2).ring({{0, 0}, {2, 0}});
  const auto c = measure(mixed.bytes);
  ASSERT_TRUE(c.has_value());
  EXPECT_DOUBLE_EQ(c->cx, 1);
  EXPECT_DOUBLE_EQ(c->length, 2);
}

TEST(measure, small_polygons_far_from_the_origin_keep_their_digits) {
  Wkb wkb;
  const double x = 179.5, y = 68.25, d = 1e-6;
  wkb.head(3).u32(1).ring({{x, y}, {x + d, y}, {x + d, y + d}, {x, y + d}, {x, y}});
  EXPECT_NEAR(measure(wkb.bytes)->area / (d * d), 1, 1e-6);
}

TEST(measure, empty_and_not_finite_are_said) {
  Wkb empty;
  empty.head(6).u32(0);
  EXPECT_TRUE(measure(empty.bytes)->empty);
  Wkb none;
  none.head(1).f64(NAN).f64(NAN);
  EXPECT_TRUE(measure(none.bytes)->empty);
  Wkb bad;
  bad.head(2).ring({{0, 0}, {INFINITY, 1}});
  EXPECT_FALSE(measure(bad.bytes)->finite);
  Wkb half;
  half.head(1).f64(NAN).f64(1);
  EXPECT_FALSE(measure(half.bytes)->finite);
}

TEST(measure, broken_bytes_are_an_error) {
  Wkb wkb;
  wkb.head(3).u32(1).ring(kSquare);
  for (std::size_t size = 0; size < wkb.bytes.size(); ++size) EXPECT_FALSE(measure(wkb.bytes.substr(0, size))) << size;
  Wkb claim;
  claim.head(3).u32(0xFFFFFFFF);
  EXPECT_FALSE(measure(claim.bytes));
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += Wkb{}.head(7).u32(1).bytes;
  EXPECT_FALSE(measure(deep));
}

}  // namespace
}  // namespace fused
