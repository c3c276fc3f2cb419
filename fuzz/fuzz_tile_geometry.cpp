// What any WKB leaves on a tile is well-formed MVT commands within the buffer.
#include <cstdlib>

#include "result/tile_geometry.hpp"

namespace {

constexpr int kExtent = 4096, kBuffer = 128;

void check(const fused::result::TileGeometry& geometry) {
  const auto& commands = geometry.commands;
  std::int64_t x = 0, y = 0;
  for (std::size_t at = 0; at < commands.size();) {
    const std::uint32_t id = commands[at] & 7, count = commands[at] >> 3;
    ++at;
    if (count == 0) std::abort();
    if (id == 7) continue;
    if (id != 1 && id != 2) std::abort();
    if (count > (commands.size() - at) / 2) std::abort();
    for (std::uint32_t i = 0; i < count; ++i, at += 2) {
      const auto delta = [&](std::size_t from) {
        return static_cast<std::int32_t>(commands[from] >> 1) ^ -static_cast<std::int32_t>(commands[from] & 1);
      };
      x += delta(at);
      y += delta(at + 1);
      if (x < -kBuffer || y < -kBuffer || x > kExtent + kBuffer || y > kExtent + kBuffer) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const int z = data[0] % 25;
  const std::int64_t at = (std::int64_t{1} << z) * (data[0] / 25) / 11;
  for (const double tolerance : {0.0, 1.0, 4.0}) {
    const fused::result::TileGrid grid({z, at, at}, kExtent, kBuffer, tolerance, nullptr);
    for (const auto& geometry : grid.place({reinterpret_cast<const char*>(data) + 1, size - 1})) check(geometry);
  }
  return 0;
}
