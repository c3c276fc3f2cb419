// What ingest and tables need to know of a geometry, from its WKB in one pass and without building objects.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "geo/wkb.hpp"

namespace fused {

// In the units of the coordinates; on the plane. Agrees with GEOS (area, length, box, centroid) to rounding.
struct Measures {
  Box box;                   // of all positions; meaningless when `empty`
  double cx = 0, cy = 0;     // centroid: of the areas, else of the lines, else of the points
  double area = 0;           // rings without their holes; never negative
  double length = 0;         // of lines and of all rings
  std::uint64_t coords = 0;  // positions
  bool empty = true;         // no position
  bool finite = true;        // false: a coordinate (x or y) is NaN or infinite, the rest means nothing
  GeometryType type = GeometryType::point;
  bool has_z = false;
  bool has_m = false;
};

// From untrusted bytes; invalid_argument for anything that is not one whole geometry. ISO and EWKB, both byte orders.
Result<Measures> measure_wkb(std::span<const std::byte> wkb);

}  // namespace fused
