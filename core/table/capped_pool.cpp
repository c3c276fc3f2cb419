#include "table/capped_pool.hpp"

#include <arrow/status.h>

#include <atomic>
#include <string>

namespace fused {
namespace {

class CappedPool final : public arrow::MemoryPool {
 public:
  explicit CappedPool(std::int64_t bytes_max) : parent_(arrow::default_memory_pool()), bytes_max_(bytes_max) {}

  using MemoryPool::Allocate;
  using MemoryPool::Free;
  using MemoryPool::Reallocate;

  arrow::Status Allocate(std::int64_t size, std::int64_t alignment, std::uint8_t** out) override {
    if (auto status = take(size); !status.ok()) return status;
    auto status = parent_->Allocate(size, alignment, out);
    if (status.ok()) {
      ++references_;
      ++allocations_;
    } else {
      bytes_ -= size;
    }
    return status;
  }
  arrow::Status Reallocate(std::int64_t old_size, std::int64_t new_size, std::int64_t alignment,
                           std::uint8_t** pointer) override {
    if (auto status = take(new_size - old_size); !status.ok()) return status;
    auto status = parent_->Reallocate(old_size, new_size, alignment, pointer);
    if (!status.ok()) bytes_ -= new_size - old_size;
    return status;
  }
  void Free(std::uint8_t* buffer, std::int64_t size, std::int64_t alignment) override {
    parent_->Free(buffer, size, alignment);
    bytes_ -= size;
    release();
  }
  void release() {
    if (--references_ == 0) delete this;
  }

  std::int64_t bytes_allocated() const override { return bytes_; }
  std::int64_t max_memory() const override { return -1; }
  std::int64_t total_bytes_allocated() const override { return bytes_; }
  std::int64_t num_allocations() const override { return allocations_; }
  std::string backend_name() const override { return "capped"; }

 private:
  arrow::Status take(std::int64_t bytes) {
    const std::int64_t now = bytes_ += bytes;
    if (bytes <= 0 || now <= bytes_max_) return arrow::Status::OK();
    bytes_ -= bytes;
    return arrow::Status::OutOfMemory("MemoryPool: the read may use ", bytes_max_, " bytes and asks for ", now);
  }

  arrow::MemoryPool* parent_;
  std::int64_t bytes_max_;
  std::atomic<std::int64_t> bytes_{0}, allocations_{0};
  std::atomic<std::int64_t> references_{1};  // the owner's, and one an allocation
};

}  // namespace

std::shared_ptr<arrow::MemoryPool> make_capped_pool(std::int64_t bytes_max) {
  return {new CappedPool(bytes_max), [](CappedPool* pool) { pool->release(); }};
}

}  // namespace fused
