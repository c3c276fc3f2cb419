#include "ingest/pages.hpp"

#include <arrow/memory_pool.h>
#include <malloc.h>
#include <sys/mman.h>

#include <new>

namespace fused::ingest {

void* allocate_pages(std::size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  return data;
}

void free_pages(void* data, std::size_t bytes) { munmap(data, bytes); }

void release_unused_memory() {
  arrow::default_memory_pool()->ReleaseUnused();
  malloc_trim(0);
}

Pages Pages::allocate(std::size_t bytes) {
  Pages pages;
  if (bytes == 0) return pages;
  void* data = allocate_pages(bytes);
  madvise(data, bytes, MADV_HUGEPAGE);
  pages.data_ = static_cast<std::uint8_t*>(data);
  pages.size_ = bytes;
  return pages;
}

Pages::~Pages() {
  if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace fused::ingest
