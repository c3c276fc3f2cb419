// A chunk as it is written: its rows, the covering of each, and what the table says of it.
#pragma once
#include <arrow/table.h>

#include <memory>
#include <set>
#include <span>

#include "ingest/read/columns.hpp"
#include "ingest/row_format.hpp"
#include "table/sample.hpp"

namespace fused::ingest {

inline constexpr const char* kCoveringEdges[] = {"xmin", "ymin", "xmax", "ymax"};

struct FileShape {
  std::shared_ptr<arrow::Schema> schema;  // with the covering
  std::string covering;                   // name of its column, or ""
};
// `has_empty`: some row of the table has no geometry, so the covering has nulls.
FileShape file_shape(const TableColumns& table, bool covering, bool has_empty);

// What a file or table holds of geometry types: "Point", "Polygon Z" …
using GeometryTypes = std::set<std::string>;

struct MadeChunk {
  std::shared_ptr<arrow::Table> table;
  ChunkRow summary;  // without file_id and chunk_id
  GeometryTypes types;
};
// Rows in the order in which they are written.
Result<MadeChunk> make_chunk(std::span<const std::uint8_t* const> rows, std::span<const std::uint32_t> row_bytes,
                             const RowFormat& format, const TableColumns& table, const FileShape& shape,
                             bool has_empty);

}  // namespace fused::ingest
