#include "ingest/write/buckets.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

namespace fused::ingest {
namespace {

struct RowHeader {
  std::uint32_t bytes, x, y, row, chunk;
};

}  // namespace

Buckets::Buckets(RowStore& store, const Partition& partition, std::uint64_t bytes_max)
    : store_(store), partition_(partition) {
  const double row_bytes = sizeof(RowHeader) + static_cast<double>(store.bytes()) /
                                                   static_cast<double>(std::max<std::uint64_t>(1, store.rows()));
  double bytes = 0;
  for (std::size_t i = 0; i < partition.chunks.size(); ++i) {
    const Chunk& chunk = partition.chunks[i];
    const double chunk_bytes = static_cast<double>(chunk.rows) * row_bytes;
    const bool new_file = i == 0 || chunk.file != partition.chunks[i - 1].file;
    if (new_file || bytes + chunk_bytes > static_cast<double>(bytes_max)) {
      buckets_.emplace_back();
      bytes = 0;
    }
    bytes += chunk_bytes;
    bucket_of_.push_back(static_cast<std::uint32_t>(buckets_.size() - 1));
  }
}

// One thread's buffers, one a bucket.
class Buckets::Spreader {
 public:
  Spreader(Buckets& all, std::size_t buffer_bytes) : all_(all), buffer_bytes_(buffer_bytes), buffers_(all.count()) {}

  Status spread(const Block& block) {
    for (std::uint32_t i = 0; i < block.rows; ++i) {
      const Place place = block.places[i];
      const auto number = static_cast<std::uint32_t>(block.first_row) + i;
      const std::uint32_t chunk = all_.partition_.chunk_of(place.x, place.y, number);
      const RowHeader header{block.offsets[i + 1] - block.offsets[i], place.x, place.y, number, chunk};
      Buffer& buffer = buffers_[all_.bucket_of_[chunk]];
      const std::size_t size = sizeof(RowHeader) + header.bytes;
      if (buffer.bytes.size() + size > buffer_bytes_) FUSED_CHECK(flush(all_.bucket_of_[chunk]));
      if (buffer.bytes.capacity() == 0) buffer.bytes.reserve(buffer_bytes_);
      const auto* head = reinterpret_cast<const std::uint8_t*>(&header);
      buffer.bytes.insert(buffer.bytes.end(), head, head + sizeof(RowHeader));
      const std::uint8_t* row = block.bytes.data() + block.offsets[i];
      buffer.bytes.insert(buffer.bytes.end(), row, row + header.bytes);
      ++buffer.rows;
    }
    return {};
  }
  Status flush(std::size_t bucket) {
    Buffer& buffer = buffers_[bucket];
    if (buffer.bytes.empty()) return {};
    const iovec piece{buffer.bytes.data(), buffer.bytes.size()};
    const std::uint64_t at = FUSED_TRY(all_.store_.scratch().append({&piece, 1}));
    std::lock_guard lock(all_.mutex_);
    Bucket& into = all_.buckets_[bucket];
    into.pieces.push_back({at, buffer.bytes.size()});
    into.bytes += buffer.bytes.size();
    into.rows += buffer.rows;
    buffer.bytes.clear();
    buffer.rows = 0;
    return {};
  }
  Status flush_all() {
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      FUSED_CHECK(flush(i));
      free_memory(buffers_[i].bytes);
    }
    return {};
  }

 private:
  struct Buffer {
    std::vector<std::uint8_t> bytes;
    std::uint64_t rows = 0;
  };
  Buckets& all_;
  std::size_t buffer_bytes_;
  std::vector<Buffer> buffers_;
};

Status Buckets::distribute(int threads, std::int64_t buffer_bytes, bool give_back, Progress& progress) {
  const std::int64_t each = buffer_bytes / std::max<std::int64_t>(1, threads * static_cast<std::int64_t>(count()));
  const auto one = static_cast<std::size_t>(std::clamp<std::int64_t>(each, 4 << 10, 256 << 10));
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  Status outcome;
  const auto work = [&] {
    Spreader spreader(*this, one);
    Block block;
    const auto run = [&]() -> Status {
      for (std::size_t at; (at = next++) < store_.blocks().size();) {
        if (progress.stop) return fail(ErrorKind::conflict, "the ingest was interrupted");
        const Block& from = store_.blocks()[at];
        FUSED_CHECK(store_.load(from, true, block));
        FUSED_CHECK(spreader.spread(block));
        if (give_back) store_.scratch().give_back(from.at, from.scratch_bytes(store_.with_loads()));
        progress.rows += from.rows;
      }
      return spreader.flush_all();
    };
    if (auto status = run(); !status) {
      std::lock_guard lock(mutex);
      if (outcome) outcome = std::move(status);
      next = store_.blocks().size();
    }
  };
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
  return outcome;
}

class BucketRows : public FileRows {
 public:
  explicit BucketRows(Buckets& all) : all_(all) {}

  Status chunk(std::uint32_t chunk, ChunkRows& into) override {
    const std::uint32_t bucket = all_.bucket_of_[chunk];
    if (bucket != held_) FUSED_CHECK(load(bucket));
    const auto range = std::ranges::equal_range(rows_, chunk, {}, &Row::chunk);
    placed_.clear();
    for (const Row& row : range)
      placed_.push_back({row.x, row.y, row.row, static_cast<std::uint32_t>(&row - rows_.data())});
    sort_along_curve(placed_);
    into.rows.resize(placed_.size());
    into.bytes.resize(placed_.size());
    for (std::size_t i = 0; i < placed_.size(); ++i) {
      const Row& row = rows_[placed_[i].at];
      __builtin_prefetch(bytes_.data() + row.at);
      into.rows[i] = bytes_.data() + row.at;
      into.bytes[i] = row.bytes;
    }
    return {};
  }

 private:
  struct Row {
    std::uint64_t at;
    std::uint32_t bytes, x, y, row, chunk;
  };
  Status load(std::uint32_t number) {
    const Buckets::Bucket& bucket = all_.buckets_[number];
    if (bytes_.size() < bucket.bytes) {
      bytes_ = Pages();  // the old ones first: not both at once
      bytes_ = Pages::allocate(bucket.bytes);
    }
    std::uint64_t at = 0;
    for (const Buckets::Piece& piece : bucket.pieces) {
      FUSED_CHECK(all_.store_.scratch().read(piece.at, bytes_.data() + at, piece.bytes));
      all_.store_.scratch().give_back(piece.at, piece.bytes);
      at += piece.bytes;
    }
    rows_.clear();
    rows_.reserve(bucket.rows);
    for (std::uint64_t row = 0; row < at;) {
      RowHeader header;
      std::memcpy(&header, bytes_.data() + row, sizeof(RowHeader));
      rows_.push_back({row + sizeof(RowHeader), header.bytes, header.x, header.y, header.row, header.chunk});
      row += sizeof(RowHeader) + header.bytes;
    }
    std::ranges::sort(rows_, [](const Row& a, const Row& b) { return a.chunk < b.chunk; });
    held_ = number;
    return {};
  }

  Buckets& all_;
  std::uint32_t held_ = 0xFFFFFFFF;
  Pages bytes_;
  std::vector<Row> rows_;
  std::vector<PlacedRow> placed_;
};

std::unique_ptr<FileRows> Buckets::rows_of_file() { return std::make_unique<BucketRows>(*this); }

}  // namespace fused::ingest
