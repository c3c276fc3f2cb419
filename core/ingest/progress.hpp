// How far an ingest is: written by its threads, read by whoever shows it.
#pragma once
#include <atomic>
#include <cstdint>

namespace fused::ingest {

enum class Stage { inspect, read, partition, distribute, write, publish, done };
inline constexpr const char* kStageNames[] = {"inspect", "read", "partition", "distribute", "write", "publish", "done"};

struct Progress {
  std::atomic<int> stage{0};
  std::atomic<std::int64_t> rows{0};         // of the stage
  std::atomic<std::int64_t> rows_total{-1};  // -1: not known
  std::atomic<bool> stop{false};             // set from outside: the ingest ends with an error soon

  void begin(Stage next, std::int64_t total) {
    rows = 0;
    rows_total = total;
    stage = static_cast<int>(next);
  }
};

}  // namespace fused::ingest
