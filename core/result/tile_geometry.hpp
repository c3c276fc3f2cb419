// Geometries on the integer grid of one tile: projected, clipped, rounded and encoded as MVT commands.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "geo/tile.hpp"
#include "result/geos.hpp"

namespace fused::result {

struct GridPoint {
  std::int32_t x = 0, y = 0;
  bool operator==(const GridPoint&) const = default;
};

enum class MvtType : int { point = 1, line = 2, polygon = 3 };

// One feature's geometry; a collection of mixed types gives several.
struct TileGeometry {
  MvtType type = MvtType::point;
  std::vector<std::uint32_t> commands;
};

class TileGrid {
 public:
  // Lines and rings are drawn with as few points as stay within `tolerance` (units of the grid; 0: all points).
  // `geos` may be null; then polygons that are not valid after rounding are left out.
  TileGrid(TileId tile, int extent, int buffer, double tolerance, const Geos* geos);
  // Nothing for what lies outside or shrinks to nothing. Positions must be degrees; the WKB must be readable.
  std::vector<TileGeometry> place(std::string_view wkb) const;

 private:
  TileId tile_;
  int extent_, buffer_;
  double tolerance_;
  const Geos* geos_;
};

// Exact: no two edges of the ring (closed implicitly) touch but neighbours at their common corner, and its area is not
// zero.
bool ring_is_simple(const std::vector<GridPoint>& ring);

}  // namespace fused::result
