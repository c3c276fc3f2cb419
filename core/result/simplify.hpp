// Paths with fewer points, for pictures that cannot show them all.
#pragma once
#include <vector>

namespace fused::result {

struct PathPoint {
  double x, y;
};
using Path = std::vector<PathPoint>;

// Points of `path`, in their order, from which it nowhere strays by more than `tolerance` (Douglas–Peucker), but for
// points nearer than half of that to the one before. The ends stay; `closed` says that the last leads to the first.
// A path that is small beside the tolerance keeps its shape: the tolerance is at most an eighth of its extent.
Path simplified(Path path, double tolerance, bool closed);

}  // namespace fused::result
