// What a file says of itself: Parquet's footer, the schema of Arrow files, the "geo" metadata of both.
#include <arrow/ipc/reader.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>

#include <algorithm>
#include <boost/json.hpp>
#include <set>

#include "ingest/read/csv.hpp"
#include "ingest/read/files.hpp"
#include "ingest/read/source.hpp"
#include "result/frame.hpp"
#include "table/parquet_call.hpp"

namespace fused::ingest {
namespace {

namespace json = boost::json;

constexpr std::string_view kArrowEncodings[] = {"point",      "linestring",      "polygon",
                                                "multipoint", "multilinestring", "multipolygon"};

bool holds_bytes(const arrow::DataType& type) {
  return type.id() == arrow::Type::BINARY || type.id() == arrow::Type::LARGE_BINARY ||
         type.id() == arrow::Type::BINARY_VIEW;
}

Status describe_parquet(Source& source) {
  const auto file = FUSED_TRY(open_file(source.path));
  return parquet_call("it is not a Parquet file that can be read", [&]() -> Status {
    auto reader = FUSED_ARROW_TRY("footer", parquet::arrow::FileReader::Make(arrow::default_memory_pool(),
                                                                             parquet::ParquetFileReader::Open(file)));
    FUSED_ARROW_CHECK("schema", reader->GetSchema(&source.schema));
    source.rows = reader->parquet_reader()->metadata()->num_rows();
    source.groups = reader->num_row_groups();
    const auto metadata = reader->parquet_reader()->metadata()->key_value_metadata();
    if (metadata && !source.schema->metadata()) source.schema = source.schema->WithMetadata(metadata);
    return {};
  });
}

Status describe_ipc(Source& source) {
  const auto file = FUSED_TRY(open_file(source.path));
  if (auto reader = arrow::ipc::RecordBatchFileReader::Open(file); reader.ok()) {
    source.schema = (*reader)->schema();
    source.groups = (*reader)->num_record_batches();
    return {};
  }
  FUSED_ARROW_CHECK("file", file->Seek(0));
  const auto reader = FUSED_ARROW_TRY("it is not an Arrow or Feather file that can be read",
                                      arrow::ipc::RecordBatchStreamReader::Open(file));
  source.schema = reader->schema();
  source.groups = -1;  // a stream
  return {};
}

std::string text_or(const json::object& from, std::string_view key, std::string fallback) {
  const json::value* value = from.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : fallback;
}

void use_column(Source& source, const std::string& name, const json::object& described) {
  source.geometry = name;
  std::string encoding = text_or(described, "encoding", "WKB");
  std::ranges::transform(encoding, encoding.begin(), [](unsigned char c) { return std::tolower(c); });
  source.encoding =
      std::ranges::find(kArrowEncodings, encoding) != std::end(kArrowEncodings) ? Encoding::geoarrow : Encoding::wkb;
  source.geoarrow_type = encoding;
  const json::value* crs = described.if_contains("crs");
  source.has_crs = crs == nullptr || !crs->is_null();  // absent means OGC:CRS84
  source.crs = crs == nullptr ? "OGC:CRS84" : crs->is_null() ? "" : json::serialize(*crs);
  if (crs != nullptr && crs->is_string()) source.crs = crs->get_string();
  // {"covering": {"bbox": {"xmin": ["bbox", "xmin"], …}}}: the column that is written anew.
  const json::value* covering = described.if_contains("covering");
  if (covering == nullptr || !covering->is_object()) return;
  for (const auto& kind : covering->get_object()) {
    if (!kind.value().is_object()) continue;
    for (const auto& edge : kind.value().get_object())
      if (edge.value().is_array() && !edge.value().get_array().empty() && edge.value().get_array()[0].is_string())
        source.hidden.emplace_back(edge.value().get_array()[0].get_string());
  }
}

Status use_geo_metadata(Source& source, const std::string& text, const std::string& wanted) {
  json::value parsed;
  try {
    json::parse_options options;
    options.max_depth = 64;
    parsed = json::parse(text, {}, options);
  } catch (const std::exception& error) {
    return fail(ErrorKind::unprocessable, std::string("its 'geo' metadata is not JSON: ") + error.what());
  }
  const json::object* geo = parsed.if_object();
  const json::value* columns = geo != nullptr ? geo->if_contains("columns") : nullptr;
  if (columns == nullptr || !columns->is_object())
    return fail(ErrorKind::unprocessable, "its 'geo' metadata names no columns");
  std::string primary = text_or(*geo, "primary_column", "");
  if (!wanted.empty()) primary = wanted;
  if (primary.empty() && columns->get_object().size() == 1) primary = columns->get_object().begin()->key();
  for (const auto& column : columns->get_object()) {
    const std::string name(column.key());
    if (!column.value().is_object())
      return fail(ErrorKind::unprocessable, "its 'geo' metadata does not describe column '" + name + "'");
    if (source.schema->GetFieldIndex(name) < 0) {
      if (name == primary)
        return fail(ErrorKind::unprocessable,
                    "its 'geo' metadata names the geometry column '" + name + "', which the file does not have");
      continue;
    }
    if (name == primary)
      use_column(source, name, column.value().get_object());
    else if (holds_bytes(*source.schema->GetFieldByName(name)->type()))
      source.other_geometries[name] = json::serialize(column.value());
    if (primary.empty()) source.choices.push_back(name);
  }
  return {};
}

// The CRS of a GeoArrow column's extension metadata.
void use_extension(Source& source, const arrow::Field& field, const std::string& extension) {
  source.geometry = field.name();
  source.encoding = extension == "geoarrow.wkb" || extension == "ogc.wkb" ? Encoding::wkb : Encoding::geoarrow;
  if (source.encoding == Encoding::geoarrow) source.geoarrow_type = extension.substr(9);
  const auto metadata = field.metadata();
  const int at = metadata ? metadata->FindKey("ARROW:extension:metadata") : -1;
  if (at < 0) return;
  boost::system::error_code error;
  const json::value parsed = json::parse(metadata->value(at), error);
  if (error || !parsed.is_object()) return;
  const json::value* crs = parsed.get_object().if_contains("crs");
  if (crs == nullptr || crs->is_null()) return;
  source.crs = crs->is_string() ? std::string(crs->get_string()) : json::serialize(*crs);
  source.has_crs = true;
}

std::string extension_of(const arrow::Field& field) {
  const auto metadata = field.metadata();
  const int at = metadata ? metadata->FindKey("ARROW:extension:name") : -1;
  return at < 0 ? "" : metadata->value(at);
}

Status use_lonlat(Source& source, const std::vector<std::string>& lonlat) {
  for (const std::string& name : lonlat)
    if (source.schema->GetFieldIndex(name) < 0)
      return fail(ErrorKind::invalid_argument,
                  "lonlat_cols names '" + name + "'; the columns are " + source.schema->ToString().substr(0, 300));
  source.encoding = Encoding::lonlat;
  source.longitude = lonlat[0];
  source.latitude = lonlat[1];
  source.crs = "EPSG:4326";
  source.has_crs = true;
  return {};
}

}  // namespace

Status find_geometry(Source& source, const std::vector<std::string>& lonlat, const std::string& wanted) {
  std::set<std::string> seen;
  for (const auto& field : source.schema->fields())
    if (!seen.insert(field->name()).second)
      return fail(ErrorKind::unprocessable, "two columns are named '" + field->name() + "'");
  if (!lonlat.empty()) return use_lonlat(source, lonlat);
  const auto metadata = source.schema->metadata();
  if (const int at = metadata ? metadata->FindKey("geo") : -1; at >= 0) {
    FUSED_CHECK(use_geo_metadata(source, metadata->value(at), wanted));
    if (!source.geometry.empty() || !source.choices.empty()) return {};
  }
  if (!wanted.empty() && source.schema->GetFieldIndex(wanted) < 0)
    return fail(ErrorKind::invalid_argument, "it has no column '" + wanted + "' for the geometry");
  std::vector<std::shared_ptr<arrow::Field>> marked, binary;
  for (const auto& field : source.schema->fields()) {
    const std::string extension = extension_of(*field);
    if (!wanted.empty() && field->name() != wanted) continue;
    if (extension.starts_with("geoarrow.") || extension == "ogc.wkb") marked.push_back(field);
    if (holds_bytes(*field->type())) binary.push_back(field);
  }
  const auto& found = marked.empty() ? binary : marked;
  for (const auto& field : found) source.choices.push_back(field->name());
  if (found.size() != 1) return {};
  source.choices.clear();
  if (!marked.empty()) {
    use_extension(source, *found[0], extension_of(*found[0]));
  } else {
    source.geometry = found[0]->name();
    source.encoding = Encoding::wkb;
  }
  return {};
}

Result<Source> inspect_file(const std::string& path, SourceKind kind, const std::vector<std::string>& lonlat,
                            const std::string& geometry, char delimiter) {
  Source source;
  source.kind = kind;
  source.path = path;
  source.name = shown_place(path);
  source.delimiter = delimiter;
  const auto described = [&]() -> Status {
    if (kind == SourceKind::parquet) FUSED_CHECK(describe_parquet(source));
    if (kind == SourceKind::ipc) FUSED_CHECK(describe_ipc(source));
    if (kind == SourceKind::csv) FUSED_CHECK(describe_csv(source));
    return find_geometry(source, lonlat, geometry);
  }();
  if (!described) return std::unexpected(described.error().within(source.name));
  return source;
}

bool is_lonlat_wgs84(std::string_view crs) {
  const auto known = [](std::string_view text) {
    return text == "EPSG:4326" || text == "OGC:CRS84" || text == "epsg:4326";
  };
  if (known(crs)) return true;
  boost::system::error_code error;
  const json::value parsed = json::parse(crs, error);
  if (error || !parsed.is_object()) return false;
  const json::value* id = parsed.get_object().if_contains("id");
  if (id == nullptr || !id->is_object()) return false;
  const json::value* code = id->get_object().if_contains("code");
  if (code == nullptr) return false;
  const std::string text = code->is_string() ? std::string(code->get_string()) : json::serialize(*code);
  return known(text_or(id->get_object(), "authority", "") + ":" + text);
}

}  // namespace fused::ingest
