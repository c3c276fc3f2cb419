// A piece of memory straight from the kernel, in large pages where there are such: filled once, read at random, and
// given back whole.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

namespace fused::ingest {

class Pages {
 public:
  Pages() = default;
  static Pages allocate(std::size_t bytes);  // throws std::bad_alloc
  ~Pages();
  Pages(Pages&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Pages& operator=(Pages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  std::uint8_t* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace fused::ingest
