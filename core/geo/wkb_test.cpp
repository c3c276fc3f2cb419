#include "geo/wkb.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

using namespace fused;

namespace {

class Wkb {
 public:
  explicit Wkb(bool big_endian = false) : big_(big_endian) {}
  Wkb& order() { return byte(big_ ? 0 : 1); }
  Wkb& byte(int value) {
    bytes.push_back(static_cast<std::byte>(value));
    return *this;
  }
  Wkb& u32(std::uint32_t value) {
    for (int i = 0; i < 4; ++i) byte(static_cast<int>(value >> (big_ ? 24 - 8 * i : 8 * i) & 255));
    return *this;
  }
  Wkb& f64(double value) {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    for (int i = 0; i < 8; ++i) byte(static_cast<int>(bits >> (big_ ? 56 - 8 * i : 8 * i) & 255));
    return *this;
  }
  Wkb& head(std::uint32_t type) { return order().u32(type); }
  std::vector<std::byte> bytes;

 private:
  bool big_;
};

Wkb square(bool big_endian = false, std::uint32_t type = 3) {
  Wkb wkb(big_endian);
  wkb.head(type).u32(1).u32(4);
  for (auto [x, y] : {std::pair{1.0, 2.0}, {5.0, 2.0}, {5.0, 7.0}, {1.0, 2.0}}) wkb.f64(x).f64(y);
  return wkb;
}

class Counter : public GeometrySink {
 public:
  int begun = 0, ended = 0;
  std::uint32_t positions_seen = 0;
  void begin(const GeometryHeader&) override { ++begun; }
  void positions(const Positions& positions) override { positions_seen += positions.count(); }
  void end(const GeometryHeader&) override { ++ended; }
};

}  // namespace

TEST(Wkb, both_byte_orders_give_the_same_extent) {
  for (bool big : {false, true}) {
    const auto extent = wkb_extent(square(big).bytes);
    ASSERT_TRUE(extent) << extent.error().message;
    EXPECT_EQ(extent->box, (Box{1, 2, 5, 7}));
    EXPECT_EQ(extent->type, GeometryType::polygon);
    EXPECT_FALSE(extent->empty);
  }
}

TEST(Wkb, every_cut_of_a_geometry_is_an_error_and_never_a_read_beyond_it) {
  Wkb collection;
  collection.head(7).u32(2);
  for (const Wkb& part : {square(), square(true)})
    collection.bytes.insert(collection.bytes.end(), part.bytes.begin(), part.bytes.end());
  ASSERT_TRUE(wkb_extent(collection.bytes));
  for (const auto& whole : {square().bytes, collection.bytes})
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_FALSE(wkb_extent(cut)) << size;
    }
}

TEST(Wkb, bytes_behind_the_geometry_are_an_error) {
  Wkb wkb = square();
  wkb.byte(0);
  EXPECT_FALSE(wkb_extent(wkb.bytes));
}

TEST(Wkb, counts_that_the_bytes_cannot_hold_are_refused_before_anything_is_made) {
  for (std::uint32_t count : {5u, 1'000'000u, 0xffffffffu}) {
    Wkb line;
    line.head(2).u32(count).f64(0).f64(0);
    EXPECT_FALSE(wkb_extent(line.bytes));
    Wkb rings;
    rings.head(3).u32(count);
    EXPECT_FALSE(wkb_extent(rings.bytes));
    Wkb parts;
    parts.head(6).u32(count);
    EXPECT_FALSE(wkb_extent(parts.bytes));
  }
}

TEST(Wkb, z_and_m_are_read_in_iso_and_in_ewkb_and_an_srid_is_skipped) {
  for (auto [code, z] :
       {std::pair<std::uint32_t, bool>{1001, true}, {2001, false}, {0x80000001, true}, {0x40000001, false}}) {
    Wkb wkb;
    wkb.head(code).f64(1).f64(2).f64(3);
    const auto extent = wkb_extent(wkb.bytes);
    ASSERT_TRUE(extent) << code;
    EXPECT_EQ(extent->has_z, z);
  }
  Wkb with_srid;
  with_srid.head(0x20000001).u32(4326).f64(1).f64(2);
  EXPECT_TRUE(wkb_extent(with_srid.bytes));
  Wkb both;
  both.head(3001).f64(1).f64(2).f64(3).f64(4);
  EXPECT_TRUE(wkb_extent(both.bytes));
}

TEST(Wkb, unknown_types_byte_orders_and_wrong_members_are_refused) {
  for (std::uint32_t type : {0u, 8u, 17u, 4001u, 0x10000001u})
    EXPECT_FALSE(wkb_extent(Wkb().head(type).u32(0).bytes)) << type;
  EXPECT_FALSE(wkb_extent(Wkb().byte(2).u32(1).f64(1).f64(2).bytes));
  EXPECT_FALSE(wkb_extent(Wkb().head(4).u32(1).head(2).u32(0).bytes));  // a line in a multipoint
}

TEST(Wkb, collections_nested_too_deep_are_refused) {
  Wkb deep;
  for (int i = 0; i < 100'000; ++i) deep.head(7).u32(1);
  EXPECT_FALSE(wkb_extent(deep.head(7).u32(0).bytes));
  Wkb fine;
  for (int i = 0; i < kWkbDepthMax; ++i) fine.head(7).u32(1);
  EXPECT_TRUE(wkb_extent(fine.head(7).u32(0).bytes));
}

TEST(Wkb, empty_and_not_finite_positions_do_not_count_for_the_extent) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinite = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(wkb_extent(Wkb().head(1).f64(nan).f64(nan).bytes)->empty);
  EXPECT_TRUE(wkb_extent(Wkb().head(2).u32(0).bytes)->empty);
  EXPECT_TRUE(wkb_extent(Wkb().head(3).u32(0).bytes)->empty);
  const auto line = wkb_extent(Wkb().head(2).u32(3).f64(1).f64(1).f64(infinite).f64(0).f64(2).f64(2).bytes);
  EXPECT_EQ(line->box, (Box{1, 1, 2, 2}));
}

TEST(Wkb, the_sink_sees_every_part_once) {
  Wkb multi;
  multi.head(6).u32(2);
  for (const Wkb& part : {square(), square(true)})
    multi.bytes.insert(multi.bytes.end(), part.bytes.begin(), part.bytes.end());
  Counter counter;
  ASSERT_TRUE(scan_wkb(multi.bytes, counter));
  EXPECT_EQ(counter.begun, 3);
  EXPECT_EQ(counter.ended, 3);
  EXPECT_EQ(counter.positions_seen, 8u);
}
