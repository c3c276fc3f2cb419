// When a part of the rows is split, and where: the one place that knows the rules, for keys in memory and in streams.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>

#include "ingest/partition/tree.hpp"

namespace fused::ingest {

__extension__ using Sum = unsigned __int128;

// Of a set of keys. All sums are exact.
struct Extent {
  std::uint64_t count = 0;
  std::uint32_t minx = 0xFFFFFFFF, miny = 0xFFFFFFFF, maxx = 0, maxy = 0;
  std::uint64_t sumx = 0, sumy = 0;
  Sum weight = 0;

  void add(std::uint32_t x, std::uint32_t y, std::uint64_t key_weight) {
    ++count;
    minx = std::min(minx, x);
    maxx = std::max(maxx, x);
    miny = std::min(miny, y);
    maxy = std::max(maxy, y);
    sumx += x;
    sumy += y;
    weight += key_weight;
  }
  bool identical() const { return minx == maxx && miny == maxy; }
};

struct Limits {
  Sum weight_max = 0;
  bool utm = false;  // all centroids in one zone and hemisphere
};

struct Rules {
  PartitionOptions options;
  Limits file, chunk;
};

// `median`: `threshold` is not known yet; the caller finds the median of that axis among the keys.
struct Cut {
  Split split = Split::leaf;
  std::uint32_t threshold = 0;
  bool median = false;
  bool ratio = false;  // made for the shape alone: kept only if ratio_cut_helps
};

// Leaf when the part keeps the limits. After a cut that is not a median both sides have keys.
Cut cut_of(const Extent& extent, const Limits& limits, const PartitionOptions& options);

// Points along a slanted line have the same shape however often they are halved; they would end as a chunk each. So a
// cut for the ratio is made only where it brings the worse ratio of one side below three quarters of the whole's.
bool ratio_cut_helps(const Extent& whole, const Extent& below, const Extent& above, const PartitionOptions& options);

// The threshold that parts keys at their middle one: both sides have keys. `least` is the smallest value.
inline std::uint32_t median_threshold(std::uint32_t middle, std::uint32_t least) {
  return middle > least ? middle : middle + 1;
}

// Maxima per file and per chunk: those given, else from the totals (docs/reference/ingest.md, "How many chunks").
// invalid_argument when the method measures nothing of what there is.
Result<Rules> rules_of(const PartitionOptions& options, const Extent& all, double& per_file, double& per_chunk);

}  // namespace fused::ingest
