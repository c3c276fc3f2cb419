// Says on the server's log when the disk lets a write wait. Who asks sees only that no answer comes.
#pragma once
#include <chrono>
#include <string_view>

#include "base/clock.hpp"

namespace fused {

// Lives as long as one fsync or commit. Any thread.
class WatchedWrite {
 public:
  static constexpr std::chrono::milliseconds kSlow{2'000};

  explicit WatchedWrite(std::string_view what, std::chrono::milliseconds slow = kSlow)
      : what_(what), slow_(slow), began_(std::chrono::steady_clock::now()) {}
  ~WatchedWrite();
  WatchedWrite(const WatchedWrite&) = delete;
  WatchedWrite& operator=(const WatchedWrite&) = delete;

 private:
  std::string_view what_;  // outlives this
  std::chrono::milliseconds slow_;
  SteadyTime began_;
};

}  // namespace fused
