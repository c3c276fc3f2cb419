#include "storage/watched_write.hpp"

#include <spdlog/spdlog.h>

namespace fused {

WatchedWrite::~WatchedWrite() {
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began_;
  if (took < slow_) return;
  spdlog::warn("the disk of the data folder is slow: {} took {:.1f} s, and whoever keeps something waits as long",
               what_, took.count());
}

}  // namespace fused
