// Many calls of one function that a worker gets as one run (docs/decisions/0009-batches.md).
#pragma once
#include <array>
#include <cstddef>
#include <string>

#include "base/clock.hpp"

namespace fused {

// Called on the server's thread.
struct CallGroup {
  struct Given {
    std::size_t calls = 0;
    std::string body;                // of the frame run_group
    std::array<int, 5> descriptors;  // stdout, stderr, records, progress, tokens; they stay the group's
  };
  virtual ~CallGroup() = default;
  // A worker has been chosen for it: which calls it gets. May be none, where others were faster.
  virtual Given give() = 0;
  // When the call that runs began; now, where none does: the wall limit is a call's.
  virtual SteadyTime running_since() = 0;
  virtual void ending() = 0;  // the worker is about to be ended for a limit: no other call may begin
};

}  // namespace fused
