// A batch on its way into the store: projected, exploded, subdivided, measured, packed.
#pragma once
#include <arrow/record_batch.h>

#include <atomic>

#include "ingest/options.hpp"
#include "ingest/read/columns.hpp"
#include "ingest/row_format.hpp"
#include "ingest/row_store.hpp"

namespace fused::ingest {

struct Counts {
  std::atomic<std::int64_t> read{0};            // rows of the input
  std::atomic<std::int64_t> out_of_bounds{0};   // dropped
  std::atomic<std::int64_t> partly_outside{0};  // kept
  std::atomic<std::int64_t> without_geometry{0};
  std::atomic<std::int64_t> subdivided{0};
  std::atomic<std::int64_t> nulls_seen{0};  // bit i: column i has nulls (for the first 63)
};

// What one thread needs to take batches in; threads share store and counts.
class BatchTaker {
 public:
  BatchTaker(const Options& options, const TableColumns& table, RowFormat format, RowStore& store, Counts& counts,
             Subdivide subdivide)
      : options_(options),
        table_(table),
        format_(std::move(format)),
        store_(store),
        counts_(counts),
        subdivide_(std::move(subdivide)) {}

  // Errors name source and row.
  Status take(const arrow::RecordBatch& batch, const Source& source, std::int64_t first_row, Order order);

 private:
  Status take_table(std::shared_ptr<arrow::RecordBatch> batch, const Source& source, std::int64_t first_row,
                    Order& order);
  Status store(const std::shared_ptr<arrow::RecordBatch>& batch, std::span<const Place> places,
               std::span<const std::uint32_t> loads, Order& order);

  const Options& options_;
  const TableColumns& table_;
  RowFormat format_;
  RowStore& store_;
  Counts& counts_;
  Subdivide subdivide_;
};

}  // namespace fused::ingest
