// Measures of any bytes: an error exactly where the scan has one, and figures that agree with the scan's.
#include <cmath>
#include <cstdlib>

#include "geo/measure.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto measures = fused::measure_wkb(bytes);
  const auto extent = fused::wkb_extent(bytes);
  if (measures.has_value() != extent.has_value()) std::abort();
  if (!measures) return 0;
  if (measures->type != extent->type) std::abort();
  if (measures->empty != (measures->coords == 0)) std::abort();
  if (measures->coords * 16 > size) std::abort();
  if (measures->empty || !measures->finite) return 0;
  const fused::Box& box = measures->box;
  if (box.minx != extent->box.minx || box.maxy != extent->box.maxy) std::abort();
  if (!(box.minx <= box.maxx && box.miny <= box.maxy)) std::abort();
  // Sums of huge coordinates overflow; what stays finite has its sign.
  if (measures->area < 0 || measures->length < 0) std::abort();
  return 0;
}
