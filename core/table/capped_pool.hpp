// Memory of one read, limited: what a hostile file claims ends in an error instead of taking the machine's memory.
#pragma once
#include <arrow/memory_pool.h>

#include <cstdint>
#include <memory>

namespace fused {

// Takes its memory from Arrow's default pool. Arrays made from it may outlive the pointer: the pool goes with the last
// of them.
std::shared_ptr<arrow::MemoryPool> make_capped_pool(std::int64_t bytes_max);

}  // namespace fused
