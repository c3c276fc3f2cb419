// Who may compute an entry: a lock on one byte of a folder's lock file, which the kernel frees with its holder, however
// that ends. The lock belongs to the open file (F_OFD_SETLK), so the threads of a process exclude each other as well; a
// forked child closes its copy. Calls may be made from any thread; one object is used by one thread at a time.
#pragma once
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "storage/file_descriptor.hpp"

namespace fused {

class EntryLock {
 public:
  EntryLock(std::string path, std::uint64_t byte);
  ~EntryLock();
  EntryLock(const EntryLock&) = delete;
  EntryLock& operator=(const EntryLock&) = delete;

  // 0: it is ours; EAGAIN: another has it; else why there are no locks here. The file is made where it is missing.
  int try_acquire();
  // Those who wait look again, while nobody else can take it.
  int share();
  void release();
  bool is_held() const { return held_; }
  const std::string& path() const { return path_; }
  std::uint64_t byte() const { return byte_; }

 private:
  friend struct LockTable;
  std::string path_;
  std::uint64_t byte_;
  int file_ = -1;
  bool held_ = false;
};

// Waits, in a thread of its own, until nobody holds the lock; the kernel wakes all who wait at once. What it is then is
// for try_acquire to see. Ends, and its thread with it, when it is destroyed.
class LockWait {
 public:
  // An errno where it cannot: EAGAIN when no thread can be had.
  static std::expected<std::unique_ptr<LockWait>, int> begin(const std::string& path, std::uint64_t byte);
  ~LockWait();
  LockWait(const LockWait&) = delete;
  LockWait& operator=(const LockWait&) = delete;

  int descriptor() const { return event_.get(); }  // readable once the wait is over
  // Of the wait: over, not yet, or interrupted by a signal of this thread (then the caller sees to it and asks again).
  enum class Outcome { over, timed_out, interrupted };
  Outcome wait_ms(int at_most) const;

 private:
  LockWait() = default;
  bool event_is_set() const;
  static void* run(void* self);

  FileDescriptor file_;
  FileDescriptor event_;
  std::uint64_t byte_ = 0;
  pthread_t thread_{};
  int process_ = 0;
  bool runs_ = false;
};

}  // namespace fused
