// The WKB scan reads nothing outside its input, nests begin and end, and agrees with itself however it is asked.
#include <cmath>
#include <cstdlib>

#include "geo/wkb.hpp"

namespace {

class Checker : public fused::GeometrySink {
 public:
  void begin(const fused::GeometryHeader&) override { ++open_; }
  void positions(const fused::Positions& positions) override {
    if (open_ == 0 || positions.dimensions() < 2 || positions.dimensions() > 4) std::abort();
    for (std::uint32_t i = 0; i < positions.count(); ++i) {
      const double x = positions.x(i), y = positions.y(i);
      for (int d = 0; d < positions.dimensions(); ++d) sum += positions.at(i, d);
      if (std::isfinite(x) && std::isfinite(y)) any = true;
    }
  }
  void end(const fused::GeometryHeader&) override {
    if (--open_ < 0) std::abort();
  }
  bool closed() const { return open_ == 0; }
  bool any = false;
  double sum = 0;

 private:
  int open_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  Checker checker;
  const auto scanned = fused::scan_wkb(bytes, checker);
  const auto extent = fused::wkb_extent(bytes);
  if (scanned.has_value() != extent.has_value()) std::abort();
  if (!scanned) return 0;
  if (!checker.closed()) std::abort();
  if (extent->empty == checker.any) std::abort();
  if (!extent->empty && !(extent->box.minx <= extent->box.maxx && extent->box.miny <= extent->box.maxy)) std::abort();
  return 0;
}
