#include "storage/write_gate.hpp"

namespace fused {

Status WriteGate::check() const {
  if (!closed_.load(std::memory_order_acquire)) return {};
  return fail(ErrorKind::unavailable, "the store is read-only since a write failed on the disk (" + reason() +
                                          "); check the disk, then restart the server");
}

void WriteGate::close(std::string_view reason) {
  const std::lock_guard lock(mutex_);
  if (closed_.load(std::memory_order_relaxed)) return;
  reason_ = reason;
  closed_.store(true, std::memory_order_release);
}

std::string WriteGate::reason() const {
  const std::lock_guard lock(mutex_);
  return reason_;
}

}  // namespace fused
