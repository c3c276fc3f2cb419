// Whether the store may still be written. After a failed fsync nobody knows what the disk holds (the kernel may have
// dropped the pages), so it is never retried as a success: the gate closes and stays closed until the server restarts.
#pragma once
#include <atomic>
#include <mutex>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace fused {

// Any thread. One for each data folder, handed to everything that writes below it.
class WriteGate {
 public:
  Status check() const;                 // unavailable (503) with the first reason, once closed
  void close(std::string_view reason);  // the first reason counts
  std::string reason() const;           // "" while open; /health shows it

 private:
  std::atomic<bool> closed_ = false;
  mutable std::mutex mutex_;
  std::string reason_;
};

}  // namespace fused
