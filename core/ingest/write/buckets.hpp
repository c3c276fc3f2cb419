// Rows of the scratch file, distributed once to buckets: whole chunks of one file, small enough to be sorted in memory.
#pragma once
#include <mutex>

#include "ingest/options.hpp"
#include "ingest/progress.hpp"
#include "ingest/write/rows_of_chunk.hpp"

namespace fused::ingest {

class Buckets {
 public:
  // `bytes_max`: a bucket has more only when a single chunk has.
  Buckets(RowStore& store, const Partition& partition, std::uint64_t bytes_max);

  // Reads every block once and gives its space back, unless the scratch file is kept.
  Status distribute(int threads, std::int64_t buffer_bytes, bool give_back, Progress& progress);
  std::unique_ptr<FileRows> rows_of_file();
  std::size_t count() const { return buckets_.size(); }

 private:
  friend class BucketRows;
  struct Piece {
    std::uint64_t at = 0, bytes = 0;
  };
  struct Bucket {
    std::vector<Piece> pieces;
    std::uint64_t bytes = 0, rows = 0;
  };
  class Spreader;
  RowStore& store_;
  const Partition& partition_;
  std::vector<std::uint32_t> bucket_of_;  // of a chunk
  std::vector<Bucket> buckets_;
  std::mutex mutex_;
};

}  // namespace fused::ingest
