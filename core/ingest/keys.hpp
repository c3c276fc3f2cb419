// A row as the partition sees it: where its centroid lies, how much it weighs, its number. Whole numbers throughout, so
// that no order of addition shows in the result.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "ingest/options.hpp"

namespace fused::ingest {

inline constexpr std::uint32_t kStepsPerZone = 71'582'788;    // of longitude in a UTM zone, 6 degrees
inline constexpr std::uint32_t kStepsX = 60 * kStepsPerZone;  // 2^32 - 16
inline constexpr std::uint32_t kEquator = 1U << 31;           // steps of latitude from the south pole
inline constexpr std::uint32_t kNowhere = 0xFFFFFFFF;         // x of a row without geometry
inline constexpr double kDegreesPerStepX = 6.0 / kStepsPerZone, kDegreesPerStepY = 90.0 / kEquator;

// Degrees to steps; what lies outside of the world is moved to its edge.
inline std::uint32_t steps_x(double longitude) {
  const double steps = std::floor((longitude + 180.0) / 6.0 * kStepsPerZone);
  return static_cast<std::uint32_t>(std::clamp(steps, 0.0, kStepsX - 1.0));
}
inline std::uint32_t steps_y(double latitude) {
  const double steps = std::floor((latitude + 90.0) / 90.0 * kEquator);
  return static_cast<std::uint32_t>(std::clamp(steps, 0.0, 4294967295.0));
}
inline std::uint32_t utm_zone(std::uint32_t x) { return x / kStepsPerZone; }  // 0 … 59
inline bool is_north(std::uint32_t y) { return y >= kEquator; }

struct Place {
  std::uint32_t x = kNowhere, y = 0;
};

// `load` is 1, a count, or the bits of a float, as the partitioning method says; only `WeightOf` reads it.
struct Key {
  std::uint32_t x, y, row;
};
struct WeightedKey {
  std::uint32_t x, y, row, load;
};

inline constexpr double kLoadSteps = 70368744177664.0;  // 2^46 a square degree or degree

inline std::uint64_t weight_of(Weight method, std::uint32_t load) {
  if (method == Weight::rows) return 1;
  if (method == Weight::coords) return load;
  return static_cast<std::uint64_t>(std::min(65536.0, double{std::bit_cast<float>(load)}) * kLoadSteps + 0.5);
}
inline std::uint32_t load_of(Weight method, double area, double length, std::uint64_t coords) {
  if (method == Weight::coords) return static_cast<std::uint32_t>(std::min<std::uint64_t>(coords, 0xFFFFFFFF));
  return std::bit_cast<std::uint32_t>(static_cast<float>(method == Weight::area ? area : length));
}

// Position along a Hilbert curve of 2^16 by 2^16 cells.
inline std::uint32_t hilbert(std::uint32_t x, std::uint32_t y) {
  std::uint32_t position = 0;
  for (std::uint32_t s = 1U << 15; s > 0; s >>= 1) {
    const std::uint32_t rx = (x & s) != 0, ry = (y & s) != 0;
    position += s * s * ((3 * rx) ^ ry);
    if (ry == 0) {
      if (rx != 0) {
        x = 0xFFFF - x;
        y = 0xFFFF - y;
      }
      std::swap(x, y);
    }
  }
  return position;
}

}  // namespace fused::ingest
