// Tiles of tables in memory, least recently used first out. One thread.
#pragma once
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/bytes.hpp"

namespace fused {

struct CachedTile {
  Bytes body;
  std::string content;  // rows | chunks
};

class TileCache {
 public:
  explicit TileCache(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  const CachedTile* find(const std::string& key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return &found->second->tile;
  }
  void put(const std::string& key, CachedTile tile) {
    const std::size_t bytes = cost(key, tile);
    if (bytes > bytes_max_ / 8 || index_.contains(key)) return;
    // A copy: what came in a mapping of a process would hold the whole mapping.
    tile.body = Bytes::of(std::string(tile.body.view));
    order_.push_front({key, std::move(tile)});
    index_.emplace(order_.front().key, order_.begin());
    bytes_ += bytes;
    while (bytes_ > bytes_max_) {
      bytes_ -= cost(order_.back().key, order_.back().tile);
      index_.erase(order_.back().key);
      order_.pop_back();
    }
  }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::string key;
    CachedTile tile;
  };
  static std::size_t cost(const std::string& key, const CachedTile& tile) {
    return tile.body.view.size() + key.size() + 200;  // list, index and strings
  }

  std::size_t bytes_max_, bytes_ = 0;
  std::list<Entry> order_;
  std::unordered_map<std::string_view, std::list<Entry>::iterator> index_;
};

}  // namespace fused
