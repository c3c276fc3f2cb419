// Keys become files and chunks.
#pragma once
#include <functional>
#include <vector>

#include "ingest/partition/rules.hpp"
#include "ingest/row_store.hpp"

namespace fused::ingest {

// One of the vectors is used; in the order of the chunks once the partition is made.
struct Keys {
  std::vector<Key> plain;
  std::vector<WeightedKey> weighted;
  bool with_loads = false;
};

// Reads the places of a sealed store (and frees those of memory), makes files and chunks. With rows in memory `keys` is
// filled, and Chunk::first points into it; else only the tree is kept. `scratch_folder` is where keys go that outgrow
// `key_memory_max`. Same rows and rules, same partition, whatever the threads and limits.
Result<Partition> make_partition(RowStore& store, const PartitionOptions& options, int threads,
                                 const std::string& scratch_folder, std::int64_t key_memory_max, Keys& keys);

}  // namespace fused::ingest
