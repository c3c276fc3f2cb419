// The rows of a chunk in the order in which they are written: along a Hilbert curve, ties as in the input.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "ingest/partition/partition.hpp"

namespace fused::ingest {

struct ChunkRows {
  std::vector<const std::uint8_t*> rows;
  std::vector<std::uint32_t> bytes;
};

struct PlacedRow {
  std::uint32_t x, y, row;
  std::uint32_t at;  // the caller's
};
// Sorts by the curve over the rows' own box.
void sort_along_curve(std::span<PlacedRow> rows);

// Gives the chunks of one file, in order. One thread at a time.
class FileRows {
 public:
  virtual ~FileRows() = default;
  virtual Status chunk(std::uint32_t chunk, ChunkRows& into) = 0;  // valid until the next call
};

std::unique_ptr<FileRows> rows_in_memory(const RowStore& store, const Partition& partition, const Keys& keys);

}  // namespace fused::ingest
