// Where the chunks of a partition lie, before anything is written: what a dry run shows.
#pragma once
#include <vector>

#include "geo/tile.hpp"
#include "ingest/partition/partition.hpp"

namespace fused::ingest {

// Of each chunk the box of its centroids, in degrees, to a step; where the keys are not in memory, what the splits (or
// the chosen boxes) leave to it. NaN for rows without geometry.
std::vector<Box> regions_of(const Partition& partition, const Keys& keys);

}  // namespace fused::ingest
