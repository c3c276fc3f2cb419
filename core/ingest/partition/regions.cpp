#include "ingest/partition/regions.hpp"

#include <limits>

namespace fused::ingest {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr Box kNowhereBox{kNone, kNone, kNone, kNone};

// Edges in steps, the upper ones included.
struct Steps {
  std::uint32_t x0 = kNowhere, y0 = 0xFFFFFFFF, x1 = 0, y1 = 0;
};

Box degrees(const Steps& s) {
  if (s.x0 >= kStepsX) return kNowhereBox;
  return {s.x0 * kDegreesPerStepX - 180, s.y0 * kDegreesPerStepY - 90, std::min(s.x1, kStepsX) * kDegreesPerStepX - 180,
          s.y1 * kDegreesPerStepY - 90};
}

template <class Keyed>
std::vector<Box> boxes_of_keys(const Partition& partition, const std::vector<Keyed>& keys) {
  std::vector<Box> boxes;
  for (const Chunk& chunk : partition.chunks) {
    Steps s;
    for (std::uint64_t i = chunk.first; i < chunk.first + chunk.rows; ++i)
      s = {std::min(s.x0, keys[i].x), std::min(s.y0, keys[i].y), std::max(s.x1, keys[i].x), std::max(s.y1, keys[i].y)};
    boxes.push_back(degrees(s));
  }
  return boxes;
}

void walk(const Partition& partition, std::uint32_t at, Steps s, std::vector<Box>& boxes) {
  const Node& node = partition.nodes[at];
  if (node.split == Split::leaf) {
    boxes[node.left] = degrees(s);
    return;
  }
  Steps left = s, right = s;
  if (node.split == Split::x) {
    left.x1 = right.x0 = node.threshold;
  } else if (node.split == Split::y) {
    left.y1 = right.y0 = node.threshold;
  }
  walk(partition, node.left, left, boxes);
  walk(partition, node.right, right, boxes);
}

}  // namespace

std::vector<Box> regions_of(const Partition& partition, const Keys& keys) {
  std::vector<Box> boxes(partition.chunks.size(), kNowhereBox);
  if (partition.boxes) {
    for (std::size_t i = 0; i < partition.boxes->size(); ++i) {
      const auto& box = partition.boxes->box(i);
      if (partition.chunk_of_box[i] < boxes.size())
        boxes[partition.chunk_of_box[i]] = {box.minx, box.miny, box.maxx, box.maxy};
    }
    return boxes;
  }
  if (partition.has_keys)
    return keys.with_loads ? boxes_of_keys(partition, keys.weighted) : boxes_of_keys(partition, keys.plain);
  if (!partition.nodes.empty()) walk(partition, 0, {0, 0, kNowhere, 0xFFFFFFFF}, boxes);
  return boxes;
}

}  // namespace fused::ingest
