#include "geo/tile.hpp"

#include <cmath>
#include <numbers>
#include <string>

namespace fused {
namespace {

constexpr double kEarthRadiusMetres = 6378137.0;
constexpr double kHalfWorldMetres = std::numbers::pi * kEarthRadiusMetres;

// Edges are functions of the edge's own number, so that two neighbours get the same double.
double longitude(std::int64_t edge, int z) { return std::ldexp(static_cast<double>(edge), -z) * 360.0 - 180.0; }

double latitude(std::int64_t edge, int z) {
  const double n = std::numbers::pi * (1.0 - 2.0 * std::ldexp(static_cast<double>(edge), -z));
  return std::atan(std::sinh(n)) * (180.0 / std::numbers::pi);
}

double metres(std::int64_t edge, int z) {
  return (2.0 * std::ldexp(static_cast<double>(edge), -z) - 1.0) * kHalfWorldMetres;
}

}  // namespace

Result<TileId> check_tile(std::int64_t z, std::int64_t x, std::int64_t y) {
  if (z < 0 || z > kTileZoomMax)
    return fail(ErrorKind::not_found,
                "tile zoom z=" + std::to_string(z) + " does not exist; z is 0 to " + std::to_string(kTileZoomMax));
  const std::int64_t last = (std::int64_t{1} << z) - 1;
  const auto outside = [last](std::int64_t number) { return number < 0 || number > last; };
  if (outside(x) || outside(y))
    return fail(ErrorKind::not_found, "tile " + std::to_string(z) + "/" + std::to_string(x) + "/" + std::to_string(y) +
                                          " does not exist; at z=" + std::to_string(z) + " x and y are 0 to " +
                                          std::to_string(last));
  return TileId{static_cast<int>(z), x, y};
}

Box tile_bounds(TileId tile) {
  return {longitude(tile.x, tile.z), latitude(tile.y + 1, tile.z), longitude(tile.x + 1, tile.z),
          latitude(tile.y, tile.z)};
}

Box tile_bounds_mercator(TileId tile) {
  return {metres(tile.x, tile.z), -metres(tile.y + 1, tile.z), metres(tile.x + 1, tile.z), -metres(tile.y, tile.z)};
}

}  // namespace fused
