#include "result/parquet.hpp"

#include <arrow/builder.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/type.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/writer.h>

#include <cmath>
#include <set>

#include "geo/wkb.hpp"
#include "result/text.hpp"

namespace fused::result {
namespace {

constexpr std::int64_t kRowGroupRows = 122'880;
constexpr char kCovering[] = "bbox";

// What one geometry column says in the "geo" metadata.
struct GeometrySummary {
  std::set<std::string> types;
  bool empty = true;
  Box box;
  std::shared_ptr<arrow::Array> covering;  // only for the primary column
};

float round_down(double value) {
  const auto nearest = static_cast<float>(value);
  return nearest > value ? std::nextafterf(nearest, -INFINITY) : nearest;
}
float round_up(double value) {
  const auto nearest = static_cast<float>(value);
  return nearest < value ? std::nextafterf(nearest, INFINITY) : nearest;
}

class CoveringBuilder {
 public:
  explicit CoveringBuilder(std::int64_t rows) : rows_(rows) {
    for (auto& edge : edges_) edge.resize(static_cast<std::size_t>(rows));
    valid_.resize(static_cast<std::size_t>(rows), 0);
  }
  void set(std::int64_t row, const Box& box) {
    const auto at = static_cast<std::size_t>(row);
    edges_[0][at] = round_down(box.minx);
    edges_[1][at] = round_down(box.miny);
    edges_[2][at] = round_up(box.maxx);
    edges_[3][at] = round_up(box.maxy);
    valid_[at] = 1;
  }
  Result<std::shared_ptr<arrow::Array>> finish() {
    arrow::ArrayVector children;
    for (auto& edge : edges_) {
      arrow::FloatBuilder builder;
      FUSED_ARROW_CHECK("bbox column", builder.AppendValues(edge.data(), rows_, valid_.data()));
      children.push_back(FUSED_ARROW_TRY("bbox column", builder.Finish()));
    }
    const std::vector<std::string> names{"xmin", "ymin", "xmax", "ymax"};
    return FUSED_ARROW_TRY("bbox column", arrow::StructArray::Make(children, names));
  }

 private:
  std::int64_t rows_;
  std::vector<float> edges_[4];
  std::vector<std::uint8_t> valid_;
};

Result<GeometrySummary> summarise(const Column& column, bool with_covering) {
  GeometrySummary summary;
  const auto& wkb = static_cast<const arrow::BinaryArray&>(*column.values);
  CoveringBuilder covering(with_covering ? wkb.length() : 0);
  bool seen[2][8] = {};
  for (std::int64_t row = 0; row < wkb.length(); ++row) {
    if (wkb.IsNull(row)) continue;
    const std::string_view bytes = wkb.GetView(row);
    const auto extent = FUSED_TRY(wkb_extent({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}));
    seen[extent.has_z][static_cast<int>(extent.type)] = true;
    if (extent.empty) continue;
    if (with_covering) covering.set(row, extent.box);
    if (summary.empty) summary.box = extent.box;
    summary.empty = false;
    summary.box = {std::min(summary.box.minx, extent.box.minx), std::min(summary.box.miny, extent.box.miny),
                   std::max(summary.box.maxx, extent.box.maxx), std::max(summary.box.maxy, extent.box.maxy)};
  }
  for (int z = 0; z < 2; ++z)
    for (int type = 1; type < 8; ++type)
      if (seen[z][type])
        summary.types.insert(std::string(geometry_type_name(static_cast<GeometryType>(type))) + (z != 0 ? " Z" : ""));
  if (with_covering) summary.covering = FUSED_TRY(covering.finish());
  return summary;
}

void append_summary(std::string& geo, const Column& column, const GeometrySummary& summary) {
  append_json_string(geo, column.name);
  geo += R"(:{"encoding":"WKB","geometry_types":[)";
  bool first = true;
  for (const std::string& type : summary.types) {
    if (!first) geo += ',';
    first = false;
    append_json_string(geo, type);
  }
  geo += R"(],"crs":)";
  geo += column.crs_json.empty() ? "null" : column.crs_json;
  if (!summary.empty) {
    geo += R"(,"bbox":[)";
    append_json_number(geo, summary.box.minx);
    for (double edge : {summary.box.miny, summary.box.maxx, summary.box.maxy}) {
      geo += ',';
      append_json_number(geo, edge);
    }
    geo += ']';
  }
  if (summary.covering) {
    geo += R"(,"covering":{"bbox":{)";
    for (const char* edge : {"xmin", "ymin", "xmax", "ymax"}) {
      if (*edge != 'x' || edge[1] != 'm' || edge[2] != 'i') geo += ',';
      geo += std::string("\"") + edge + R"(":["bbox",")" + edge + "\"]";
    }
    geo += "}}";
  }
  geo += '}';
}

struct Prepared {
  std::shared_ptr<arrow::Table> table;
  std::vector<std::string> incompressible;  // parquet paths whose bytes do not repeat: no dictionary, no statistics
};

Result<Prepared> prepare(const Frame& frame, const std::string& pandas_metadata, bool covering) {
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  Prepared prepared;
  std::string geo;
  for (const Column& column : frame.columns) covering &= column.name != kCovering;
  std::shared_ptr<arrow::Array> covering_values;
  for (int i = 0; i < static_cast<int>(frame.columns.size()); ++i) {
    const Column& column = frame.columns[static_cast<std::size_t>(i)];
    if (column.kind == ColumnKind::json)
      return fail(ErrorKind::not_acceptable, "column '" + column.name + "' holds values of mixed types, which only " +
                                                 "json, geojson and csv can carry; convert it to one type");
    fields.push_back(arrow::field(column.name, column.values->type()));
    arrays.push_back(column.values);
    if (column.kind != ColumnKind::geometry) continue;
    prepared.incompressible.push_back(column.name);
    const auto summary = FUSED_TRY(summarise(column, covering && i == frame.primary_geometry));
    if (summary.covering) covering_values = summary.covering;
    geo += geo.empty() ? "" : ",";
    append_summary(geo, column, summary);
  }
  if (covering_values) {
    fields.push_back(arrow::field(kCovering, covering_values->type()));
    arrays.push_back(covering_values);
    for (const char* edge : {"xmin", "ymin", "xmax", "ymax"})
      prepared.incompressible.push_back(std::string(kCovering) + "." + edge);
  }
  auto metadata = std::make_shared<arrow::KeyValueMetadata>();
  if (!pandas_metadata.empty()) metadata->Append("pandas", pandas_metadata);
  if (frame.has_geometry()) {
    std::string text = R"({"version":"1.1.0","primary_column":)";
    append_json_string(text, frame.columns[static_cast<std::size_t>(frame.primary_geometry)].name);
    metadata->Append("geo", text + R"(,"columns":{)" + geo + "}}");
  }
  prepared.table = arrow::Table::Make(arrow::schema(fields, metadata), arrays, frame.rows);
  return prepared;
}

}  // namespace

Result<std::shared_ptr<arrow::Buffer>> encode_parquet(const Frame& frame, const std::string& pandas_metadata) {
  const Prepared prepared = FUSED_TRY(prepare(frame, pandas_metadata, true));
  parquet::WriterProperties::Builder properties;
  properties.compression(parquet::Compression::SNAPPY)->created_by("fused-server");
  for (const std::string& path : prepared.incompressible) properties.disable_dictionary(path);
  if (frame.has_geometry())
    properties.disable_statistics(frame.columns[static_cast<std::size_t>(frame.primary_geometry)].name);
  for (const Column& column : frame.columns)
    if (arrow::is_floating(column.values->type_id())) properties.disable_dictionary(column.name);
  const auto arrow_properties = parquet::ArrowWriterProperties::Builder().store_schema()->build();

  auto sink = FUSED_ARROW_TRY("parquet", arrow::io::BufferOutputStream::Create(1 << 16));
  FUSED_ARROW_CHECK("parquet", parquet::arrow::WriteTable(*prepared.table, arrow::default_memory_pool(), sink,
                                                          kRowGroupRows, properties.build(), arrow_properties));
  return FUSED_ARROW_TRY("parquet", sink->Finish());
}

Result<std::shared_ptr<arrow::Buffer>> encode_feather(const Frame& frame, const std::string& pandas_metadata) {
  const Prepared prepared = FUSED_TRY(prepare(frame, pandas_metadata, false));
  auto sink = FUSED_ARROW_TRY("feather", arrow::io::BufferOutputStream::Create(1 << 16));
  auto writer = FUSED_ARROW_TRY("feather", arrow::ipc::MakeFileWriter(sink, prepared.table->schema()));
  FUSED_ARROW_CHECK("feather", writer->WriteTable(*prepared.table));
  FUSED_ARROW_CHECK("feather", writer->Close());
  return FUSED_ARROW_TRY("feather", sink->Finish());
}

}  // namespace fused::result
