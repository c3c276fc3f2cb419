// Whether a geometry and a box have a point in common, decided exactly on the doubles as they stand.
#pragma once
#include <cstddef>
#include <span>

#include "base/result.hpp"
#include "geo/tile.hpp"

namespace fused {

// Edges and corners count. The answer is that of GEOS for valid geometries; rings that cross themselves cover what the
// even-odd rule says. Positions that are not finite are passed over; empty geometries meet nothing. Linear in the
// bytes. unprocessable for what is not WKB.
Result<bool> meets_box(std::span<const std::byte> wkb, const Box& box);

// Sign of the turn a → b → c: 1 left, -1 right, 0 straight; exact.
int turn(double ax, double ay, double bx, double by, double cx, double cy);

}  // namespace fused
