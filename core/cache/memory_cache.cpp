#include "cache/memory_cache.hpp"

#include <algorithm>
#include <bit>

namespace fused {
namespace {

constexpr std::size_t kTypicalEntryBytes = 2'048;  // for the size of the sketch

std::uint64_t mixed(std::uint64_t key, unsigned row) {
  key += 0x9e3779b97f4a7c15ull * (row + 1);
  key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9ull;
  key = (key ^ (key >> 27)) * 0x94d049bb133111ebull;
  return key ^ (key >> 31);
}

std::uint64_t fame_key(const CacheEntry& entry) { return entry.key.digest.word(1); }

}  // namespace

FrequencySketch::FrequencySketch(std::size_t keys)
    : counters_(std::bit_ceil(std::max<std::size_t>(1'024, keys)) * 4), mask_(counters_.size() / 4 - 1) {}

std::size_t FrequencySketch::at(std::uint64_t key, unsigned row) const {
  return row * (counters_.size() / 4) + static_cast<std::size_t>(mixed(key, row) & mask_);
}

void FrequencySketch::see(std::uint64_t key) {
  const unsigned least = seen(key);
  if (least < 15)
    for (unsigned row = 0; row < 4; ++row)
      if (auto& counter = counters_[at(key, row)]; counter == least) ++counter;
  if (++additions_ < 10 * (mask_ + 1)) return;
  additions_ = 0;
  for (auto& counter : counters_) counter /= 2;
}

unsigned FrequencySketch::seen(std::uint64_t key) const {
  unsigned least = 15;
  for (unsigned row = 0; row < 4; ++row) least = std::min<unsigned>(least, counters_[at(key, row)]);
  return least;
}

MemoryCache::MemoryCache(std::size_t bytes_max)
    : bytes_max_(bytes_max),
      window_max_(bytes_max / 100),
      guarded_max_((bytes_max - bytes_max / 100) / 10 * 8),
      sketch_(std::min<std::size_t>(bytes_max / kTypicalEntryBytes, 1 << 20)) {}

void MemoryCache::push(Part part, List::iterator item) {
  used_[item->part] -= item->weight;
  lists_[part].splice(lists_[part].begin(), lists_[item->part], item);
  item->part = part;
  used_[part] += item->weight;
}

void MemoryCache::drop(List::iterator item) {
  used_[item->part] -= item->weight;
  bytes_ -= item->weight;
  items_.erase(item->entry->key.digest);
  lists_[item->part].erase(item);
}

SharedCacheEntry MemoryCache::find(const Digest& key) {
  sketch_.see(key.word(1));
  const auto found = items_.find(key);
  if (found == items_.end()) return nullptr;
  const auto item = found->second;
  push(item->part == window ? window : guarded, item);
  while (used_[guarded] > guarded_max_ && lists_[guarded].size() > 1) push(probation, std::prev(lists_[guarded].end()));
  return item->entry;
}

void MemoryCache::put(SharedCacheEntry entry, std::size_t weight) {
  erase(entry->key.digest);
  if (weight > bytes_max_ / 8) return;
  lists_[window].push_front({std::move(entry), weight, window});
  const auto item = lists_[window].begin();
  used_[window] += weight;
  bytes_ += weight;
  items_.emplace(item->entry->key.digest, item);
  settle();
}

// What falls out of the window must be asked for more often than what it would push out of the main part.
void MemoryCache::settle() {
  while (used_[window] > window_max_ && !lists_[window].empty()) {
    const auto item = std::prev(lists_[window].end());
    const std::size_t main_max = bytes_max_ - window_max_;
    const std::size_t main = used_[probation] + used_[guarded];
    if (main + item->weight <= main_max || make_room(main + item->weight - main_max, fame_key(*item->entry)))
      push(probation, item);
    else
      drop(item);
  }
}

bool MemoryCache::make_room(std::size_t weight, std::uint64_t key) {
  const unsigned fame = sketch_.seen(key);
  while (weight > 0) {
    List& from = !lists_[probation].empty() ? lists_[probation] : lists_[guarded];
    if (from.empty()) return false;
    const auto last = std::prev(from.end());
    if (sketch_.seen(fame_key(*last->entry)) >= fame) return false;
    weight -= std::min(weight, last->weight);
    drop(last);
  }
  return true;
}

bool MemoryCache::erase(const Digest& key) {
  const auto found = items_.find(key);
  if (found == items_.end()) return false;
  drop(found->second);
  return true;
}

void MemoryCache::erase_group(std::uint32_t group) {
  for (auto& list : lists_)
    for (auto item = list.begin(); item != list.end();) {
      const auto next = std::next(item);
      if (item->entry->key.group == group || item->entry->key.tile_group == group) drop(item);
      item = next;
    }
}

}  // namespace fused
