// Small entries in memory, bounded in bytes: W-TinyLFU (a window of 1 %, a main part in two generations, and a sketch
// of how often each key was asked for). A new entry stays only if it is asked for more often than the one it would push
// out, so that a pan over ten thousand tiles, each seen once, leaves the few that everybody sees. LRU and CLOCK would
// keep the last ten thousand; LFU without window would never let in what becomes popular. One thread.
#pragma once
#include <array>
#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

#include "cache/entry.hpp"

namespace fused {

// How often keys were seen, roughly: four rows of 4-bit counters, halved now and then so that old fame fades.
class FrequencySketch {
 public:
  explicit FrequencySketch(std::size_t keys);
  void see(std::uint64_t key);
  unsigned seen(std::uint64_t key) const;  // 0 to 15

 private:
  std::size_t at(std::uint64_t key, unsigned row) const;
  std::vector<std::uint8_t> counters_;
  std::uint64_t mask_;
  std::uint64_t additions_ = 0;
};

class MemoryCache {
 public:
  explicit MemoryCache(std::size_t bytes_max);

  SharedCacheEntry find(const Digest& key);
  // `weight`: bytes that it holds. What is over an eighth of all is not kept.
  void put(SharedCacheEntry entry, std::size_t weight);
  bool erase(const Digest& key);
  void erase_group(std::uint32_t group);  // of a function or a tile

  std::size_t bytes() const { return bytes_; }
  std::size_t size() const { return items_.size(); }

 private:
  enum Part { window, probation, guarded };
  struct Item {
    SharedCacheEntry entry;
    std::size_t weight;
    Part part;
  };
  using List = std::list<Item>;  // newest first

  void push(Part part, List::iterator item);
  void drop(List::iterator item);
  void settle();
  bool make_room(std::size_t weight, std::uint64_t key);

  std::size_t bytes_max_, window_max_, guarded_max_;
  std::size_t bytes_ = 0;
  std::array<std::size_t, 3> used_{};
  std::array<List, 3> lists_;
  std::unordered_map<Digest, List::iterator, DigestHash> items_;
  FrequencySketch sketch_;
};

}  // namespace fused
