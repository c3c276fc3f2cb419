// Packed rows between reading and writing: blocks in memory while they fit, all of them in the scratch file when they
// do not.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <tuple>
#include <vector>

#include "ingest/keys.hpp"
#include "ingest/pages.hpp"
#include "ingest/scratch.hpp"

namespace fused::ingest {

// Where rows stand in the input; decides their numbers.
struct Order {
  std::uint32_t source = 0, group = 0, part = 0, piece = 0;
  auto operator<=>(const Order&) const = default;
};

struct Block {
  Order order;
  std::uint32_t rows = 0;
  std::uint64_t first_row = 0;         // known once the store is sealed
  PagedVector<std::uint32_t> offsets;  // rows + 1, in `bytes`
  PagedVector<Place> places;
  PagedVector<std::uint32_t> loads;  // empty when rows are counted
  Pages bytes;
  std::uint64_t packed_bytes = 0;
  std::uint64_t at = 0;  // in the scratch file: bytes, offsets, places, loads

  std::uint64_t scratch_bytes(bool with_loads) const {
    return packed_bytes + (rows + 1) * 4ULL + rows * sizeof(Place) + (with_loads ? rows * 4ULL : 0);
  }
};

class RowStore {
 public:
  // `memory_max`: bytes for rows and keys together; `place_memory_max` for the keys alone. `keep_rows` false: only
  // keys.
  RowStore(Scratch scratch, std::int64_t memory_max, std::int64_t place_memory_max, bool with_loads, bool keep_rows);

  Status add(Block block);  // any thread
  // No more blocks: orders and numbers them. too_large beyond 2^32 - 2 rows.
  Status seal();

  bool in_memory() const { return in_memory_; }
  bool places_in_memory() const { return places_in_memory_; }
  bool with_loads() const { return with_loads_; }
  std::uint64_t rows() const { return rows_; }
  std::uint64_t bytes() const { return bytes_; }
  std::vector<Block>& blocks() { return blocks_; }
  Scratch& scratch() { return scratch_; }

  // A block of the scratch file, whole. `rows_too` false: only places and loads.
  Status load(const Block& block, bool rows_too, Block& into) const;
  // A row of memory, by its number.
  struct Found {
    const std::uint8_t* data;
    std::uint32_t bytes;
  };
  Found row(std::uint64_t number) const {
    std::size_t at = block_of_[number >> kLookUpBits];
    while (number >= blocks_[at].first_row + blocks_[at].rows) ++at;
    const Block& block = blocks_[at];
    const std::uint32_t* offset = block.offsets.data() + (number - block.first_row);
    return {block.bytes.data() + offset[0], offset[1] - offset[0]};
  }
  void clear();  // rows are not needed any more

 private:
  static constexpr int kLookUpBits = 10;
  Status to_scratch(Block& block);

  std::mutex mutex_;
  Scratch scratch_;
  std::vector<Block> blocks_;
  std::vector<std::uint32_t> block_of_;  // of every 2^10th row
  std::int64_t memory_max_, place_memory_max_;
  std::int64_t memory_used_ = 0;
  std::uint64_t rows_ = 0, bytes_ = 0;
  bool with_loads_, keep_rows_;
  std::atomic<bool> in_memory_{true}, places_in_memory_{true};
};

}  // namespace fused::ingest
