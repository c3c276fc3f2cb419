#include "ingest/memory.hpp"

#include <algorithm>
#include <cstdio>

namespace fused::ingest {

std::int64_t process_memory() {
  std::int64_t kib = 0;
  if (std::FILE* file = std::fopen("/proc/self/smaps_rollup", "re")) {
    char line[256];
    while (std::fgets(line, sizeof line, file) != nullptr)
      if (long long value = 0; std::sscanf(line, "Pss: %lld kB", &value) == 1) kib = value;
    std::fclose(file);
  }
  return kib * 1024;
}

MemoryPlan plan_memory(const Options& options, std::int64_t used) {
  const int threads = options.threads;
  constexpr std::int64_t kPerThread = 72 << 20;  // batches being decoded, packed; chunks being encoded
  const std::int64_t free = options.row_memory
                                ? *options.row_memory
                                : std::max<std::int64_t>(options.memory_limit - used - kPerThread * threads, 64 << 20);
  MemoryPlan plan;
  plan.rows_and_keys = free;
  plan.keys = free * 3 / 4;
  plan.bucket = std::clamp<std::int64_t>(free / (3 * threads), 1 << 20, 32 << 20);
  plan.spread = std::clamp<std::int64_t>(free / 4, 1 << 20, 64 << 20);
  return plan;
}

}  // namespace fused::ingest
