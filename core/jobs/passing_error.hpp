// Whether a submit that was refused is worth repeating: the reason may be gone in a while.
#pragma once
#include "base/result.hpp"

namespace fused {

inline bool is_passing(ErrorKind kind) {
  return kind == ErrorKind::unavailable || kind == ErrorKind::too_many_requests || kind == ErrorKind::storage_full ||
         kind == ErrorKind::timeout || kind == ErrorKind::internal;
}

}  // namespace fused
