// Rows of a row group as Arrow, reading only the pages that hold them.
#pragma once
#include <arrow/memory_pool.h>
#include <arrow/table.h>

#include <memory>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "geo/tile.hpp"
#include "table/parquet_file.hpp"

namespace fused {

struct RowRange {
  std::int64_t begin = 0, end = 0;  // within a row group
  bool operator==(const RowRange&) const = default;
};
using RowRanges = std::vector<RowRange>;  // in order, not empty, not touching

std::int64_t count_rows(const RowRanges& rows);
RowRanges intersection(const RowRanges& a, const RowRanges& b);
RowRanges unite(const RowRanges& a, const RowRanges& b);
// Rows in their order as ranges; what lies shortly between two is read with them, which costs less than a range.
RowRanges ranges_of(std::span<const std::int64_t> rows);

// Rows whose pages can hold boxes that meet one of `boxes`, by the page bounds of the covering; all where they are not
// known.
RowRanges rows_near(const ParquetFile& file, int row_group, std::span<const Box> boxes);

// The top-level columns `fields` (in the order of the file) of exactly these rows. The file's schema metadata is kept.
// `threads`: columns of a whole row group are decoded side by side.
Result<std::shared_ptr<arrow::Table>> read_rows(const ParquetFile& file, int row_group, const RowRanges& rows,
                                                std::span<const int> fields, arrow::MemoryPool* pool, bool threads);

}  // namespace fused
