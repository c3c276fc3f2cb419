#include "ingest/write/rows_of_chunk.hpp"

#include <algorithm>
#include <bit>

namespace fused::ingest {

void sort_along_curve(std::span<PlacedRow> rows) {
  if (rows.size() < 2) return;
  std::uint32_t minx = rows[0].x, miny = rows[0].y, maxx = minx, maxy = miny;
  for (const PlacedRow& row : rows) {
    minx = std::min(minx, row.x);
    maxx = std::max(maxx, row.x);
    miny = std::min(miny, row.y);
    maxy = std::max(maxy, row.y);
  }
  // A step of longitude is two of latitude.
  const std::uint64_t side = std::max((std::uint64_t{maxx} - minx) * 2, std::uint64_t{maxy} - miny);
  const int shift = std::max(0, static_cast<int>(std::bit_width(side)) - 16);
  struct Ranked {
    std::uint64_t rank;  // curve, then number
    std::uint32_t index;
  };
  std::vector<Ranked> order(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const PlacedRow& row = rows[i];
    const auto x = static_cast<std::uint32_t>(((std::uint64_t{row.x} - minx) * 2) >> shift);
    const auto y = static_cast<std::uint32_t>((std::uint64_t{row.y} - miny) >> shift);
    order[i] = {std::uint64_t{hilbert(x, y)} << 32 | row.row, static_cast<std::uint32_t>(i)};
  }
  std::ranges::sort(order, {}, &Ranked::rank);
  std::vector<PlacedRow> sorted(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) sorted[i] = rows[order[i].index];
  std::ranges::copy(sorted, rows.begin());
}

namespace {

class MemoryRows : public FileRows {
 public:
  MemoryRows(const RowStore& store, const Partition& partition, const Keys& keys)
      : store_(store), partition_(partition), keys_(keys) {}

  Status chunk(std::uint32_t chunk, ChunkRows& into) override {
    const Chunk& wanted = partition_.chunks[chunk];
    placed_.resize(wanted.rows);
    for (std::uint64_t i = 0; i < wanted.rows; ++i) {
      if (keys_.with_loads) {
        const WeightedKey& key = keys_.weighted[wanted.first + i];
        placed_[i] = {key.x, key.y, key.row, 0};
      } else {
        const Key& key = keys_.plain[wanted.first + i];
        placed_[i] = {key.x, key.y, key.row, 0};
      }
    }
    sort_along_curve(placed_);
    into.rows.resize(wanted.rows);
    into.bytes.resize(wanted.rows);
    for (std::uint64_t i = 0; i < wanted.rows; ++i) {
      const RowStore::Found found = store_.row(placed_[i].row);
      __builtin_prefetch(found.data);
      __builtin_prefetch(found.data + 64);
      into.rows[i] = found.data;
      into.bytes[i] = found.bytes;
    }
    return {};
  }

 private:
  const RowStore& store_;
  const Partition& partition_;
  const Keys& keys_;
  std::vector<PlacedRow> placed_;
};

}  // namespace

std::unique_ptr<FileRows> rows_in_memory(const RowStore& store, const Partition& partition, const Keys& keys) {
  return std::make_unique<MemoryRows>(store, partition, keys);
}

}  // namespace fused::ingest
