// A piece of memory straight from the kernel, in large pages where there are such: filled once, read at random, and
// given back whole.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace fused::ingest {

void* allocate_pages(std::size_t bytes);  // throws std::bad_alloc
void free_pages(void* data, std::size_t bytes);

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

// For vectors of some size that are freed while others grow: malloc would keep the pages for itself.
template <class T>
struct PageAllocator {
  using value_type = T;
  PageAllocator() = default;
  template <class U>
  PageAllocator(const PageAllocator<U>&) {}
  T* allocate(std::size_t count) { return static_cast<T*>(allocate_pages(count * sizeof(T))); }
  void deallocate(T* data, std::size_t count) { free_pages(data, count * sizeof(T)); }
  bool operator==(const PageAllocator&) const { return true; }
};
template <class T>
using PagedVector = std::vector<T, PageAllocator<T>>;

// `= {}` would keep a vector's memory: it assigns an empty list.
template <class Vector>
void free_memory(Vector& vector) {
  Vector().swap(vector);
}

// Between stages: what allocators hold without need goes back to the kernel.
void release_unused_memory();

}  // namespace fused::ingest
