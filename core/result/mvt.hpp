// Mapbox Vector Tile 2.1 of one table.
#pragma once
#include <string>

#include "geo/tile.hpp"
#include "result/frame.hpp"
#include "result/geos.hpp"

namespace fused::result {

struct MvtOptions {
  std::string layer = "udf";
  int extent = 4096;
  int buffer = 128;      // in units of the extent, on each side
  double tolerance = 0;  // in units of the extent: how far a line may stray from where it was
};

// The primary geometry must be in degrees (EPSG:4326). Features outside the tile and its buffer, and those that shrink
// to nothing on its grid, are left out; no feature left is an empty string. Polygons are valid on the grid: simple
// rings, outer ones of positive area, holes inside them (`geos` mends what is not; without it such polygons are left
// out). A column "id" of integers that are not negative is each feature's id too. Nested values become JSON text.
Result<std::string> encode_mvt(const Frame& frame, TileId tile, const Geos* geos, const MvtOptions& options = {});

}  // namespace fused::result
