#include "ingest/row_store.hpp"

#include <algorithm>

namespace fused::ingest {

RowStore::RowStore(Scratch scratch, std::int64_t memory_max, std::int64_t place_memory_max, bool with_loads,
                   bool keep_rows)
    : scratch_(std::move(scratch)),
      memory_max_(memory_max),
      place_memory_max_(place_memory_max),
      with_loads_(with_loads),
      keep_rows_(keep_rows) {}

Status RowStore::to_scratch(Block& block) {
  const iovec pieces[] = {{block.bytes.data(), block.packed_bytes},
                          {block.offsets.data(), block.offsets.size() * 4},
                          {block.places.data(), block.places.size() * sizeof(Place)},
                          {block.loads.data(), block.loads.size() * 4}};
  block.at = FUSED_TRY(scratch_.append(pieces));
  block.bytes = Pages();
  free_memory(block.offsets);
  if (!places_in_memory_) {
    free_memory(block.places);
    free_memory(block.loads);
  }
  return {};
}

Status RowStore::add(Block block) {
  if (!keep_rows_) {
    block.bytes = Pages();
    free_memory(block.offsets);
  }
  bool write = false;
  {
    std::lock_guard lock(mutex_);
    rows_ += block.rows;
    bytes_ += block.packed_bytes;
    memory_used_ += static_cast<std::int64_t>(block.bytes.size() + block.offsets.size() * 4);
    // A key is 12 or 16 bytes in the end.
    const std::int64_t key_bytes = static_cast<std::int64_t>(rows_) * (with_loads_ ? 16 : 12);
    if (keep_rows_ && in_memory_ && memory_used_ + key_bytes > memory_max_) {
      in_memory_ = false;
      for (Block& held : blocks_) FUSED_CHECK(to_scratch(held));
    }
    if (keep_rows_ && !in_memory_ && places_in_memory_ && key_bytes > place_memory_max_) {
      places_in_memory_ = false;
      for (Block& held : blocks_) {
        free_memory(held.places);
        free_memory(held.loads);
      }
    }
    write = !in_memory_;
    if (!write) {
      blocks_.push_back(std::move(block));
      return {};
    }
  }
  FUSED_CHECK(to_scratch(block));
  std::lock_guard lock(mutex_);
  if (!places_in_memory_) {
    free_memory(block.places);
    free_memory(block.loads);
  }
  blocks_.push_back(std::move(block));
  return {};
}

Status RowStore::seal() {
  if (rows_ >= kNowhere)
    return fail(ErrorKind::too_large,
                "the input has " + std::to_string(rows_) + " rows; a table may have 4294967294. Ingest it in parts.");
  std::ranges::sort(blocks_, {}, &Block::order);
  std::uint64_t number = 0;
  for (Block& block : blocks_) {
    block.first_row = number;
    number += block.rows;
  }
  block_of_.resize((rows_ >> kLookUpBits) + 1);
  std::size_t block = 0;
  for (std::size_t i = 0; i < block_of_.size(); ++i) {
    const std::uint64_t row = std::uint64_t{i} << kLookUpBits;
    while (block + 1 < blocks_.size() && row >= blocks_[block].first_row + blocks_[block].rows) ++block;
    block_of_[i] = static_cast<std::uint32_t>(block);
  }
  return {};
}

Status RowStore::load(const Block& block, bool rows_too, Block& into) const {
  into.rows = block.rows;
  into.first_row = block.first_row;
  into.packed_bytes = block.packed_bytes;
  if (rows_too) {
    if (into.bytes.size() < block.packed_bytes)
      into.bytes = Pages::allocate(block.packed_bytes + block.packed_bytes / 8);
    FUSED_CHECK(scratch_.read(block.at, into.bytes.data(), block.packed_bytes));
    into.offsets.resize(block.rows + 1);
    FUSED_CHECK(scratch_.read(block.at + block.packed_bytes, into.offsets.data(), into.offsets.size() * 4));
  }
  std::uint64_t at = block.at + block.packed_bytes + (block.rows + 1) * 4ULL;
  into.places.resize(block.rows);
  FUSED_CHECK(scratch_.read(at, into.places.data(), block.rows * sizeof(Place)));
  at += block.rows * sizeof(Place);
  if (!with_loads_) return {};
  into.loads.resize(block.rows);
  return scratch_.read(at, into.loads.data(), block.rows * 4ULL);
}

void RowStore::clear() {
  std::vector<Block>().swap(blocks_);
  free_memory(block_of_);
}

}  // namespace fused::ingest
