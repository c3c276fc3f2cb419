// Which rows of a piece of a table meet one of some boxes.
#pragma once
#include <arrow/table.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "geo/tile.hpp"
#include "table/page_reader.hpp"
#include "table/parquet_file.hpp"

namespace fused {

// `table` has one chunk a column, among them the primary geometry (WKB) and, where the file has one, the covering.
// Exact: rows whose covering lies inside a box are taken without looking at the geometry.
Result<std::vector<std::int64_t>> rows_that_meet(const arrow::Table& table, const ParquetFile& file,
                                                 std::span<const Box> boxes);

// Of `rows` of a row group, whose covering alone `covering` holds (in their order): those whose box meets one of
// `boxes`, with what lies shortly between them. Everything when the covering cannot be read.
RowRanges rows_with_boxes_near(const arrow::Table& covering, const ParquetFile& file, const RowRanges& rows,
                               std::span<const Box> boxes);

// The box of each row of `covering`, as above; of a row without one NaN. Nothing when the covering cannot be read.
std::optional<std::vector<Box>> covering_boxes(const arrow::Table& covering, const ParquetFile& file);

}  // namespace fused
