// How much memory an ingest may use for what.
#pragma once
#include <cstdint>

#include "ingest/options.hpp"

namespace fused::ingest {

struct MemoryPlan {
  std::int64_t rows_and_keys = 0;  // held between reading and writing
  std::int64_t keys = 0;           // when rows are in scratch
  std::int64_t bucket = 0;         // rows of a bucket
  std::int64_t spread = 0;         // buffers of all threads while rows are distributed
};

// Proportional set size of this process, in bytes.
std::int64_t process_memory();
MemoryPlan plan_memory(const Options& options, std::int64_t used);

}  // namespace fused::ingest
