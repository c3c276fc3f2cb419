// The file in which rows wait that do not fit into memory: nameless unless it is kept for --resume, limited, gone with
// the process. Space is handed out in order; pieces that have been read are given back to the disk.
#pragma once
#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.hpp"

namespace fused::ingest {

class Scratch {
 public:
  // `name` empty: a nameless file in `folder`.
  static Result<Scratch> open(const std::string& folder, const std::string& name, std::int64_t bytes_max);
  Scratch() = default;
  Scratch(Scratch&& other) noexcept;
  Scratch& operator=(Scratch&& other) noexcept;
  ~Scratch();

  // Any thread. Where the pieces lie, one behind the other. storage_full when the limit is reached or the disk is full.
  Result<std::uint64_t> append(std::span<const iovec> pieces);
  Status read(std::uint64_t at, void* to, std::size_t bytes) const;
  void give_back(std::uint64_t at, std::uint64_t bytes);  // what has been read for good
  Status sync() const;
  std::uint64_t size() const { return end_.load(); }
  void set_size(std::uint64_t bytes) { end_ = bytes; }
  std::int64_t used_max() const { return used_max_.load(); }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
  std::int64_t bytes_max_ = 0;
  std::string folder_;
  std::atomic<std::uint64_t> end_{0};
  std::atomic<std::int64_t> used_{0}, used_max_{0};
};

}  // namespace fused::ingest
