#include "ingest/pages.hpp"

#include <sys/mman.h>

#include <new>

namespace fused::ingest {

Pages Pages::allocate(std::size_t bytes) {
  Pages pages;
  if (bytes == 0) return pages;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  madvise(data, bytes, MADV_HUGEPAGE);
  pages.data_ = static_cast<std::uint8_t*>(data);
  pages.size_ = bytes;
  return pages;
}

Pages::~Pages() {
  if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace fused::ingest
