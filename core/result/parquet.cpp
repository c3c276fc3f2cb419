#include "result/parquet.hpp"

#include <arrow/array.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/type.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/writer.h>

#include <bit>
#include <limits>
#include <set>
#include <unordered_set>

#include "geo/wkb.hpp"
#include "result/text.hpp"

namespace fused::result {
namespace {

constexpr std::int64_t kRowGroupRows = 122'880;
constexpr char kCovering[] = "bbox";
constexpr const char* kEdges[] = {"xmin", "ymin", "xmax", "ymax"};

// What one geometry column says in the "geo" metadata.
struct GeometrySummary {
  std::set<std::string> types;
  bool empty = true;
  Box box;
  std::shared_ptr<arrow::Array> covering;  // only for the primary column
};

// Floats that enclose a double. The neighbour is taken by arithmetic on the bits: whether it is needed is a coin toss,
// and a branch on it would be mispredicted half the time, four times a row.
template <bool up>
float enclosing(double value) {
  const auto nearest = static_cast<float>(value);
  const bool beyond = up ? nearest < value : nearest > value;
  if (nearest == 0) [[unlikely]]
    return beyond ? (up ? 1 : -1) * std::numeric_limits<float>::denorm_min() : nearest;
  const auto bits = std::bit_cast<std::int32_t>(nearest);
  const std::int32_t away = (bits < 0) != up ? 1 : -1;
  return std::bit_cast<float>(bits + (beyond ? away : 0));
}

// The column "bbox": written edge by edge into memory that Arrow then owns.
class CoveringBuilder {
 public:
  static Result<CoveringBuilder> make(std::int64_t rows) {
    CoveringBuilder builder;
    builder.rows_ = rows;
    for (int edge = 0; edge < 4; ++edge) {
      builder.edges_[edge] = FUSED_ARROW_TRY("bbox column", arrow::AllocateBuffer(rows * 4));
      builder.floats_[edge] = reinterpret_cast<float*>(builder.edges_[edge]->mutable_data());
    }
    builder.valid_ = FUSED_ARROW_TRY("bbox column", arrow::AllocateEmptyBitmap(rows));
    builder.bits_ = builder.valid_->mutable_data();
    return builder;
  }
  void set(std::int64_t row, const Box& box) {
    floats_[0][row] = enclosing<false>(box.minx);
    floats_[1][row] = enclosing<false>(box.miny);
    floats_[2][row] = enclosing<true>(box.maxx);
    floats_[3][row] = enclosing<true>(box.maxy);
    arrow::bit_util::SetBit(bits_, row);
    ++set_;
  }
  void skip(std::int64_t row) {
    for (float* edge : floats_) edge[row] = 0;
  }
  Result<std::shared_ptr<arrow::Array>> finish() {
    const bool whole = set_ == rows_;  // then without levels: smaller, and faster to write
    arrow::ArrayVector children;
    arrow::FieldVector fields;
    for (int edge = 0; edge < 4; ++edge) {
      children.push_back(arrow::MakeArray(arrow::ArrayData::Make(
          arrow::float32(), rows_, {whole ? nullptr : valid_, std::move(edges_[edge])}, rows_ - set_)));
      fields.push_back(arrow::field(kEdges[edge], arrow::float32(), !whole));
    }
    return FUSED_ARROW_TRY("bbox column", arrow::StructArray::Make(children, fields));
  }

 private:
  std::int64_t rows_ = 0, set_ = 0;
  std::shared_ptr<arrow::Buffer> edges_[4];
  std::shared_ptr<arrow::Buffer> valid_;
  float* floats_[4] = {};
  std::uint8_t* bits_ = nullptr;
};

Result<GeometrySummary> summarise(const Column& column, bool with_covering) {
  GeometrySummary summary;
  const auto& wkb = static_cast<const arrow::BinaryArray&>(*column.values);
  CoveringBuilder covering = FUSED_TRY(CoveringBuilder::make(with_covering ? wkb.length() : 0));
  bool seen[2][8] = {};
  for (std::int64_t row = 0; row < wkb.length(); ++row) {
    if (wkb.IsNull(row)) {
      if (with_covering) covering.skip(row);
      continue;
    }
    const std::string_view bytes = wkb.GetView(row);
    const auto extent = FUSED_TRY(wkb_extent({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}));
    seen[extent.has_z][static_cast<int>(extent.type)] = true;
    if (extent.empty) {
      if (with_covering) covering.skip(row);
      continue;
    }
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
    for (const char* edge : kEdges) {
      if (edge != kEdges[0]) geo += ',';
      geo += std::string("\"") + edge + R"(":["bbox",")" + edge + "\"]";
    }
    geo += "}}";
  }
  geo += '}';
}

struct Prepared {
  std::shared_ptr<arrow::Table> table;
  bool has_covering = false;
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
    const auto summary = FUSED_TRY(summarise(column, covering && i == frame.primary_geometry));
    if (summary.covering) covering_values = summary.covering;
    geo += geo.empty() ? "" : ",";
    append_summary(geo, column, summary);
  }
  if (covering_values) {
    fields.push_back(arrow::field(kCovering, covering_values->type(), false));
    arrays.push_back(covering_values);
    prepared.has_covering = true;
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

// Would a dictionary pay? By the distinct values among a sample of the rows.
bool repeats(const arrow::Array& values) {
  constexpr std::int64_t kSample = 512;
  if (values.length() < kSample) return true;
  const auto& data = *values.data();
  const auto* type = dynamic_cast<const arrow::FixedWidthType*>(values.type().get());
  if (type == nullptr || type->bit_width() % 8 != 0 || data.buffers.size() < 2 || !data.buffers[1]) return true;
  const auto width = static_cast<std::size_t>(type->bit_width() / 8);
  std::unordered_set<std::string_view> distinct;
  for (std::int64_t i = 0; i < kSample; ++i) {
    const auto row = static_cast<std::size_t>(data.offset + i * values.length() / kSample);
    distinct.emplace(reinterpret_cast<const char*>(data.buffers[1]->data()) + row * width, width);
  }
  return distinct.size() < kSample / 2;
}

std::shared_ptr<parquet::WriterProperties> writer_properties(const Frame& frame, const Prepared& prepared) {
  parquet::WriterProperties::Builder properties;
  properties.compression(parquet::Compression::SNAPPY)->created_by("fused-server");
  for (const Column& column : frame.columns) {
    const bool geometry = column.kind == ColumnKind::geometry;
    if (geometry) properties.disable_statistics(column.name);
    if (geometry || !repeats(*column.values)) properties.disable_dictionary(column.name);
  }
  if (prepared.has_covering)
    for (const char* edge : kEdges) {
      const std::string path = std::string(kCovering) + "." + edge;
      properties.disable_dictionary(path)->compression(path, parquet::Compression::UNCOMPRESSED);
    }
  return properties.build();
}

std::int64_t bytes_of(const arrow::Table& table) {
  std::int64_t bytes = 0;
  for (const auto& column : table.columns())
    for (const auto& chunk : column->chunks())
      for (const auto& buffer : chunk->data()->buffers) bytes += buffer ? buffer->size() : 0;
  return bytes;
}

}  // namespace

Result<std::shared_ptr<arrow::Buffer>> encode_parquet(const Frame& frame, const std::string& pandas_metadata) {
  const Prepared prepared = FUSED_TRY(prepare(frame, pandas_metadata, true));
  const auto properties = writer_properties(frame, prepared);
  const auto arrow_properties = parquet::ArrowWriterProperties::Builder().store_schema()->build();

  auto sink = FUSED_ARROW_TRY("parquet", arrow::io::BufferOutputStream::Create(bytes_of(*prepared.table) + (1 << 14)));
  FUSED_ARROW_CHECK("parquet", parquet::arrow::WriteTable(*prepared.table, arrow::default_memory_pool(), sink,
                                                          kRowGroupRows, properties, arrow_properties));
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
