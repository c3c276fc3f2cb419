// Web-map tiles (z/x/y, y from the north) and the boxes they cover. No Arrow, no GEOS: server and worker both use it.
#pragma once
#include <cstdint>

#include "base/result.hpp"

namespace fused {

inline constexpr int kTileZoomMax = 24;

// A tile that exists: 0 <= z <= kTileZoomMax, 0 <= x,y < 2^z. Made by check_tile where the numbers come from outside.
struct TileId {
  int z = 0;
  std::int64_t x = 0;
  std::int64_t y = 0;
  bool operator==(const TileId&) const = default;
};

// minx <= maxx, miny <= maxy; degrees (EPSG:4326) or metres (EPSG:3857), as the function that makes it says.
struct Box {
  double minx = 0;
  double miny = 0;
  double maxx = 0;
  double maxy = 0;
  bool operator==(const Box&) const = default;
};

// not_found (404) that names the number seen and the range allowed.
Result<TileId> check_tile(std::int64_t z, std::int64_t x, std::int64_t y);

// Degrees, EPSG:4326. Neighbours share the very same double on their common edge; z=0 is -180, ±85.0511…, 180.
Box tile_bounds(TileId tile);

// Metres, EPSG:3857; neighbours share their edge too.
Box tile_bounds_mercator(TileId tile);

}  // namespace fused
