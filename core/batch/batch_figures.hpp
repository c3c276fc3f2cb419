// What batches have come to, for /health and /metrics.
#pragma once
#include <cstddef>
#include <cstdint>

namespace fused {

struct BatchFigures {
  std::size_t open = 0;
  std::size_t waiting = 0;  // calls of the open ones that have not begun
  std::uint64_t opened = 0;
  std::uint64_t calls = 0;  // of those that ended for good
};

}  // namespace fused
