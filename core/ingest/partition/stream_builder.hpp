// The partition of keys that do not fit into memory: the upper splits are made in streams through the scratch file, by
// the same rules, until a part fits.
#pragma once
#include <string>

#include "ingest/partition/partition.hpp"

namespace fused::ingest {

Result<Partition> partition_stream(RowStore& store, const PartitionOptions& options, int threads,
                                   const std::string& scratch_folder, std::int64_t key_memory_max);

}  // namespace fused::ingest
