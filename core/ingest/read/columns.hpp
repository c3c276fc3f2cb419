// The table's columns, and how each input's batches become them.
#pragma once
#include <arrow/record_batch.h>

#include <memory>
#include <string>
#include <vector>

#include "ingest/options.hpp"
#include "ingest/read/source.hpp"

namespace fused::ingest {

inline constexpr const char* kOriginalRow = "original_row";  // column added when geometries are subdivided

// What is written, without the covering. The geometry is binary (WKB).
struct TableColumns {
  std::shared_ptr<arrow::Schema> schema;
  int geometry = -1;
  int original_row = -1;                                // or -1
  std::map<std::string, std::string> other_geometries;  // see Source
};

// The union of the sources' columns by name, after load_columns and remove_cols; `wanted` (may be null) gives types.
// A column with two types, a name asked for that nobody has, no geometry or several: an error that names them.
Result<TableColumns> table_columns(std::vector<Source>& sources, const Options& options,
                                   const std::shared_ptr<arrow::Schema>& wanted);

// Names of a source's columns that have to be read.
std::vector<std::string> needed_columns(const Source& source, const TableColumns& table);

// A batch of the source as a batch of the table; the original-row column is left null. `first_row` is the number of
// the batch's first row in its source, for messages.
Result<std::shared_ptr<arrow::RecordBatch>> to_table(const arrow::RecordBatch& batch, const Source& source,
                                                     const TableColumns& table, std::int64_t first_row);

}  // namespace fused::ingest
