// The result cache of a server: memory before segments, one thread that writes, one that reads large bodies. Never an
// error to its caller: what cannot be stored is computed again, and the server's log says so once.
#pragma once
#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "cache/code_memory.hpp"
#include "cache/hit_log.hpp"
#include "cache/memory_cache.hpp"
#include "cache/segments.hpp"

namespace fused {

struct ResultCacheOptions {
  SegmentOptions disk;                       // disk.folder: DIR/cache
  std::size_t memory_bytes = 128 << 20;      // of small entries
  std::size_t waiting_bytes_max = 64 << 20;  // entries that wait for the disk; beyond it they are not stored
  int hit_days_kept = 90;
  std::chrono::milliseconds pause_after_trouble{10'000};  // before the disk is tried again
};

// How a request was answered: from an entry, from one that is older than allowed, by a run of somebody else, by its
// own.
enum class CacheAnswer { hit, stale, joined, miss };

struct ResultCacheFigures {
  SegmentFigures disk;
  std::int64_t limit_bytes = 0;  // of disk
  std::size_t memory_entries = 0;
  std::size_t memory_bytes = 0;
  std::uint64_t hits = 0;
  std::uint64_t stale = 0;
  std::uint64_t joined = 0;
  std::uint64_t misses = 0;
  std::uint64_t stored = 0;
  std::uint64_t not_stored = 0;  // the disk was full, read-only or too slow
  std::string trouble;           // why nothing is stored now; "" where it is
};

class ResultCache {
 public:
  static std::unique_ptr<ResultCache> open(boost::asio::io_context& io, ResultCacheOptions options, const Clock& clock);
  ~ResultCache();

  // ── the server's thread ──
  // From memory, or by one pread of at most 64 KiB and a head; a large body by the reading thread.
  boost::asio::awaitable<SharedCacheEntry> find(const Digest& key);
  void put(SharedCacheEntry entry);
  void forget(const Digest& key);
  void forget_group(std::uint32_t group);  // of a function, or of one of its tiles
  // What has changed since the most similar of this function's recent keys; nothing where none is known, an empty list
  // where that very key was seen (its entry was removed).
  std::optional<std::vector<std::string>> changes(const CacheKey& key) const;
  void remember(const CacheKey& key);
  // Times `group` was forgotten: a run that began before does not store what it found.
  std::uint64_t generation(std::uint32_t group) const;
  void count(CacheAnswer answer) { ++answers_[static_cast<std::size_t>(answer)]; }
  // `work` on the thread that may wait for the disk.
  boost::asio::awaitable<std::string> ask_reader(std::function<std::string()> work);

  CodeMemory& codes() { return *codes_; }
  HitLog& hit_log() { return *hit_log_; }
  std::int64_t now_ms() const;
  ResultCacheFigures figures() const;
  bool flush(std::chrono::milliseconds at_most);  // waits until what was put is written
  void close();

 private:
  ResultCache(boost::asio::io_context& io, ResultCacheOptions options, const Clock& clock);
  void enqueue(std::size_t bytes, std::function<Status()> work);
  void work();
  void write(const std::function<Status()>& task);
  void say(const Status& done);
  Status append_code(const std::string& record);

  boost::asio::io_context& io_;
  ResultCacheOptions options_;
  const Clock& clock_;
  std::unique_ptr<SegmentStore> disk_;  // null: memory only
  MemoryCache memory_;
  std::unique_ptr<HitLog> hit_log_;
  std::unique_ptr<CodeMemory> codes_;
  boost::asio::thread_pool reader_{1};
  std::unordered_map<std::uint32_t, std::deque<CacheKey>> recent_;
  std::unordered_map<std::uint32_t, std::uint64_t> generations_;
  std::uint64_t generation_ = 0;
  std::array<std::uint64_t, 4> answers_{};

  struct Task {
    std::size_t bytes;
    std::function<Status()> work;
  };
  mutable std::mutex mutex_;  // of all below
  std::condition_variable wake_, idle_;
  std::deque<Task> tasks_;
  std::size_t waiting_bytes_ = 0;
  bool busy_ = false, stop_ = false;
  std::uint64_t stored_ = 0, not_stored_ = 0;
  std::string trouble_;
  SteadyTime paused_until_{};
  std::thread writer_;
};

}  // namespace fused
