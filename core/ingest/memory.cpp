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

MemoryPlan plan_memory(std::int64_t limit, std::int64_t used, int threads) {
  constexpr std::int64_t kPerThread = 28 << 20;  // batches being decoded, packed; chunks being encoded
  const std::int64_t free = std::max<std::int64_t>(limit - used - kPerThread * threads, 64 << 20);
  MemoryPlan plan;
  plan.rows_and_keys = free;
  plan.keys = free * 3 / 4;
  plan.bucket = std::clamp<std::int64_t>(free / (3 * threads), 4 << 20, 32 << 20);
  plan.spread = std::clamp<std::int64_t>(free / 4, 16 << 20, 64 << 20);
  return plan;
}

}  // namespace fused::ingest
