#include "reader/frame_of.hpp"

#include <arrow/array/concatenate.h>
#include <arrow/array/util.h>
#include <arrow/compute/cast.h>
#include <arrow/extension_type.h>

#include "table/geo_metadata.hpp"

namespace fused::reader {
namespace {

Result<std::shared_ptr<arrow::Array>> one_chunk(const arrow::ChunkedArray& column) {
  std::shared_ptr<arrow::Array> array;
  if (column.num_chunks() == 1)
    array = column.chunk(0);
  else if (column.num_chunks() == 0)
    array = FUSED_ARROW_TRY("column", arrow::MakeEmptyArray(column.type()));
  else
    array = FUSED_ARROW_TRY("column", arrow::Concatenate(column.chunks()));
  if (array->type_id() == arrow::Type::EXTENSION) return static_cast<const arrow::ExtensionArray&>(*array).storage();
  return array;
}

}  // namespace

Result<result::Frame> frame_of(const arrow::Table& table) {
  const GeoMetadata geo = FUSED_TRY(read_geo_metadata(table.schema()->metadata().get()));
  const auto* primary = geo.primary_column();
  result::Frame frame;
  frame.rows = table.num_rows();
  for (int i = 0; i < table.num_columns(); ++i) {
    result::Column column{.name = table.field(i)->name(), .values = FUSED_TRY(one_chunk(*table.column(i)))};
    column.type_name = column.values->type()->ToString();
    const auto type = column.values->type_id();
    const bool binary = type == arrow::Type::BINARY || type == arrow::Type::LARGE_BINARY;
    for (const GeoColumn& said : geo.columns)
      if (binary && said.name == column.name && said.encoding == "WKB") {
        column.kind = result::ColumnKind::geometry;
        column.crs_json = said.crs_json;
      }
    if (binary && geo.columns.empty() && column.name == "geometry") column.kind = result::ColumnKind::geometry;
    if (column.kind == result::ColumnKind::geometry) {
      column.type_name = "geometry";
      if (type == arrow::Type::LARGE_BINARY)
        column.values = FUSED_ARROW_TRY("geometry", arrow::compute::Cast(*column.values, arrow::binary()));
      if (!primary || primary->name == column.name || frame.primary_geometry < 0) frame.primary_geometry = i;
    }
    frame.columns.push_back(std::move(column));
  }
  return frame;
}

}  // namespace fused::reader
