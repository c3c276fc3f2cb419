// Any three numbers are a tile with sane bounds, or a 404.
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "geo/tile.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::int64_t numbers[3] = {};
  std::memcpy(numbers, data, size < sizeof numbers ? size : sizeof numbers);
  if (size % 2 == 0) {  // half of the inputs near the tiles that exist
    numbers[0] &= 31;
    numbers[1] &= 0x1ffffff;
    numbers[2] &= 0x1ffffff;
  }
  const auto tile = fused::check_tile(numbers[0], numbers[1], numbers[2]);
  if (!tile) {
    if (tile.error().kind != fused::ErrorKind::not_found) std::abort();
    return 0;
  }
  for (const fused::Box box : {fused::tile_bounds(*tile), fused::tile_bounds_mercator(*tile)})
    if (!(box.minx < box.maxx && box.miny < box.maxy && std::isfinite(box.minx) && std::isfinite(box.maxy)))
      std::abort();
  const fused::Box degrees = fused::tile_bounds(*tile);
  if (degrees.minx < -180 || degrees.maxx > 180 || degrees.miny < -85.0512 || degrees.maxy > 85.0512) std::abort();
  return 0;
}
