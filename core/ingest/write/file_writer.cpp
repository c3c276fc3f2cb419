#include "ingest/write/file_writer.hpp"

#include <arrow/array.h>
#include <arrow/ipc/writer.h>
#include <arrow/scalar.h>
#include <arrow/type.h>
#include <arrow/util/base64.h>
#include <arrow/util/key_value_metadata.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_set>

#include "result/frame.hpp"
#include "result/text.hpp"
#include "table/parquet_call.hpp"

namespace fused::ingest {
namespace {

constexpr std::int64_t kRowsPerPage = 2048;  // what the page index can leave out at once
constexpr std::int64_t kPageBytes = 1 << 20;

// EPSG:4326 as PROJJSON says it, longitude first as GeoParquet has it whatever the axis order here.
constexpr std::string_view kWgs84 =
    R"j({"$schema":"https://proj.org/schemas/v0.7/projjson.schema.json","type":"GeographicCRS","name":"WGS 84",)j"
    R"j("datum_ensemble":{"name":"World Geodetic System 1984 ensemble","members":[)j"
    R"j({"name":"World Geodetic System 1984 (Transit)"},{"name":"World Geodetic System 1984 (G730)"},)j"
    R"j({"name":"World Geodetic System 1984 (G873)"},{"name":"World Geodetic System 1984 (G1150)"},)j"
    R"j({"name":"World Geodetic System 1984 (G1674)"},{"name":"World Geodetic System 1984 (G1762)"},)j"
    R"j({"name":"World Geodetic System 1984 (G2139)"}],"ellipsoid":{"name":"WGS 84","semi_major_axis":6378137,)j"
    R"j("inverse_flattening":298.257223563},"accuracy":"2.0"},"coordinate_system":{"subtype":"ellipsoidal","axis":[)j"
    R"j({"name":"Geodetic latitude","abbreviation":"Lat","direction":"north","unit":"degree"},)j"
    R"j({"name":"Geodetic longitude","abbreviation":"Lon","direction":"east","unit":"degree"}]},)j"
    R"j("scope":"Horizontal component of 3D system.","area":"World.",)j"
    R"j("bbox":{"south_latitude":-90,"west_longitude":-180,"north_latitude":90,"east_longitude":180},)j"
    R"j("id":{"authority":"EPSG","code":4326}})j";

// Would a dictionary pay? By the distinct values among a sample.
bool repeats(const arrow::ChunkedArray& column) {
  if (column.num_chunks() == 0 || column.chunk(0)->length() < 256) return true;
  constexpr std::int64_t kSample = 256;
  const auto& values = *column.chunk(0);
  std::unordered_set<std::string> distinct;
  for (std::int64_t i = 0; i < kSample; ++i) {
    const auto scalar = values.GetScalar(i * values.length() / kSample);
    if (scalar.ok()) distinct.insert((*scalar)->ToString());
  }
  return distinct.size() < kSample / 2;
}

std::shared_ptr<parquet::WriterProperties> properties_of(const TableColumns& table, const FileShape& shape,
                                                         const Options& options, const arrow::Table& first) {
  parquet::WriterProperties::Builder properties;
  properties.compression(parquet::Compression::ZSTD)->compression_level(options.compression_level);
  properties.created_by("fused-server")->enable_write_page_index()->enable_page_checksum();
  properties.max_rows_per_page(kRowsPerPage)->data_pagesize(kPageBytes);
  properties.max_row_group_length(std::numeric_limits<std::int64_t>::max());
  for (int i = 0; i < table.schema->num_fields(); ++i) {
    const std::string& name = table.schema->field(i)->name();
    const bool geometry = i == table.geometry || table.other_geometries.contains(name);
    if (geometry) properties.disable_statistics(name);
    const bool nested = table.schema->field(i)->type()->num_fields() > 0;
    if (geometry || (!nested && !repeats(*first.column(i)))) properties.disable_dictionary(name);
  }
  if (!shape.covering.empty())
    for (const char* edge : kCoveringEdges) {
      const std::string path = shape.covering + '.' + edge;
      properties.disable_dictionary(path)->encoding(path, parquet::Encoding::BYTE_STREAM_SPLIT);
    }
  return properties.build();
}

std::string geo_metadata(const TableColumns& table, const FileShape& shape, const GeometryTypes& types, const Box& box,
                         bool empty) {
  const std::string& name = table.schema->field(table.geometry)->name();
  std::string text = R"({"version":"1.1.0","primary_column":)";
  result::append_json_string(text, name);
  text += R"(,"columns":{)";
  result::append_json_string(text, name);
  text += R"(:{"encoding":"WKB","geometry_types":[)";
  bool first = true;
  const bool has_m = std::ranges::any_of(types, [](const std::string& type) { return type.ends_with('M'); });
  for (const std::string& type : has_m ? GeometryTypes{} : types) {  // GeoParquet 1.1 has no names for M
    text += first ? "" : ",";
    first = false;
    result::append_json_string(text, type);
  }
  text += R"(],"crs":)";
  text += kWgs84;
  if (!empty) {
    text += R"(,"bbox":[)";
    result::append_json_number(text, box.minx);
    for (const double edge : {box.miny, box.maxx, box.maxy}) {
      text += ',';
      result::append_json_number(text, edge);
    }
    text += ']';
  }
  if (!shape.covering.empty()) {
    text += R"(,"covering":{"bbox":{)";
    for (const char* edge : kCoveringEdges) {
      text += edge == kCoveringEdges[0] ? "\"" : ",\"";
      text += edge + std::string("\":[");
      result::append_json_string(text, shape.covering);
      text += std::string(",\"") + edge + "\"]";
    }
    text += "}}";
  }
  text += '}';
  for (const auto& [other, described] : table.other_geometries) {
    if (table.schema->GetFieldIndex(other) < 0) continue;
    text += ',';
    result::append_json_string(text, other);
    text += ':' + described;
  }
  return text + "}}";
}

}  // namespace

Result<FileWriter> FileWriter::open(std::shared_ptr<arrow::io::OutputStream> sink, const TableColumns& table,
                                    const FileShape& shape, const Options& options, const arrow::Table& first) {
  return parquet_call("writing", [&]() -> Result<FileWriter> {
    FileWriter file;
    file.table_ = &table;
    file.shape_ = &shape;
    file.writer_ = FUSED_ARROW_TRY(
        "writing", parquet::arrow::FileWriter::Open(*shape.schema, arrow::default_memory_pool(), std::move(sink),
                                                    properties_of(table, shape, options, first)));
    return file;
  });
}

Status FileWriter::write(const MadeChunk& chunk) {
  types_.insert(chunk.types.begin(), chunk.types.end());
  const Box& box = chunk.summary.box;
  if (!std::isnan(box.minx)) {
    if (empty_) box_ = box;
    empty_ = false;
    box_ = {std::min(box_.minx, box.minx), std::min(box_.miny, box.miny), std::max(box_.maxx, box.maxx),
            std::max(box_.maxy, box.maxy)};
  }
  return parquet_call("writing", [&]() -> Status {
    FUSED_ARROW_CHECK("writing", writer_->NewRowGroup());
    for (const auto& column : chunk.table->columns()) FUSED_ARROW_CHECK("writing", writer_->WriteColumnChunk(column));
    return {};
  });
}

Status FileWriter::close() {
  return parquet_call("writing", [&]() -> Status {
    const std::string geo = geo_metadata(*table_, *shape_, types_, box_, empty_);
    // Readers that go by the Arrow schema look for "geo" in its metadata, which is only known now; so it is put in here
    // and not by Arrow when the file is opened.
    const auto schema = shape_->schema->WithMetadata(arrow::key_value_metadata({{"geo", geo}}));
    const auto bytes = FUSED_ARROW_TRY("writing", arrow::ipc::SerializeSchema(*schema));
    FUSED_ARROW_CHECK(
        "writing",
        writer_->AddKeyValueMetadata(arrow::key_value_metadata(
            {{"geo", geo}, {"ARROW:schema", arrow::util::base64_encode(static_cast<std::string_view>(*bytes))}})));
    FUSED_ARROW_CHECK("writing", writer_->Close());
    return {};
  });
}

}  // namespace fused::ingest
