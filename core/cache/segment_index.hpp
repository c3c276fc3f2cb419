// Where the entries lie: one row of 64 bytes each, in memory, under one lock that is held for a probe.
#pragma once
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "cache/cache_key.hpp"
#include "storage/file_descriptor.hpp"

namespace fused {

struct Position {  // of a record; later ones are greater
  std::uint32_t segment = 0;
  std::uint32_t offset = 0;
  auto operator<=>(const Position&) const = default;
  std::uint64_t number() const { return std::uint64_t{segment} << 32 | offset; }
  static Position of(std::uint64_t number) {
    return {static_cast<std::uint32_t>(number >> 32), static_cast<std::uint32_t>(number)};
  }
};

struct IndexRow {
  Position position;
  std::uint32_t record_bytes = 0;
  std::uint32_t created = 0;  // seconds since 1970
  std::uint32_t expires = 0;
  std::uint32_t group = 0;
  std::uint32_t tile_group = 0;
  std::uint32_t last_used = 0;
  float cost_seconds = 0;
  std::uint32_t large_kib = 0;  // of a body in a file, rounded up
  std::uint16_t hits = 0;       // since the start
  std::uint16_t flags = 0;

  std::uint64_t bytes() const { return record_bytes + std::uint64_t{large_kib} * 1024; }
};

struct Segment {
  std::uint32_t number = 0;
  std::uint64_t nonce = 0;
  FileDescriptor file;
  bool sealed = false;
  std::uint64_t file_bytes = 0;
  std::uint64_t large_bytes = 0;  // of the files that its records name, live or not
  std::uint64_t live_bytes = 0;
  double value = 0;  // seconds saved, and to be saved, by its live entries
  std::uint32_t last_used = 0;

  std::uint64_t bytes() const { return file_bytes + large_bytes; }
};
using SharedSegment = std::shared_ptr<Segment>;

class SegmentIndex {
 public:
  struct Found {
    IndexRow row;
    SharedSegment segment;
  };
  // Nothing for what is not there or was invalidated. Counts a use.
  std::optional<Found> find(const Digest& key, std::uint32_t now);
  bool is_current(const Digest& key, Position position) const;

  void add_segment(SharedSegment segment);
  void remove_segment(std::uint32_t number);
  std::vector<SharedSegment> segments() const;
  void grow(Segment& segment, std::uint64_t file_bytes, std::uint64_t large_bytes);
  SharedSegment segment(std::uint32_t number) const;

  // The later position wins.
  void insert(const Digest& key, const IndexRow& row);
  // Of a compaction: only where it is still at `from`.
  void move(const Digest& key, Position from, Position to);
  bool erase(const Digest& key);
  // Only where it is still at `position`.
  void erase(const Digest& key, Position position);
  std::optional<IndexRow> row(const Digest& key) const;
  // At the start: the latest of a group counts.
  void mark_group(std::uint32_t group, Position position);
  // While it runs: hidden at once, until the mark has its place on disk and counts from there.
  void hide_group(std::uint32_t group);
  void show_group_after(std::uint32_t group, Position position);
  void mark_key(const Digest& key, Position position);
  // The marks of groups; those before `oldest` have nothing left to hide and are forgotten.
  std::vector<std::pair<std::uint32_t, Position>> group_marks(std::uint32_t oldest_segment);

  std::size_t size() const;
  void reserve(std::size_t rows);
  struct Totals {
    std::uint64_t bytes = 0;
    double value = 0;
  };
  Totals totals() const;
  double live_share(const Segment& segment) const;
  double density(const Segment& segment, std::uint32_t now) const;  // decayed value a byte
  double density(const IndexRow& row, std::uint32_t now) const;

 private:
  struct Key {
    std::uint64_t first, second;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    using is_avalanching = void;  // it is a part of a digest
    std::size_t operator()(const Key& key) const { return static_cast<std::size_t>(key.first); }
  };
  static Key of(const Digest& key) { return {key.word(0), key.word(1)}; }
  bool is_hidden(const IndexRow& row) const;  // under the lock
  void count_out(const IndexRow& row);

  mutable std::mutex mutex_;
  boost::unordered_flat_map<Key, IndexRow, Hash> rows_;
  std::map<std::uint32_t, SharedSegment> segments_;
  boost::unordered_flat_map<std::uint32_t, Position> marks_;
  std::map<std::uint32_t, int> hidden_;  // marks that are on their way to the disk
};

}  // namespace fused
