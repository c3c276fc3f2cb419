#include "table/geo_metadata.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace fused {
namespace {
namespace json = boost::json;

constexpr std::size_t kGeoBytesMax = 16 << 20;

bool is_degrees(const json::value& crs) {
  const auto* object = crs.if_object();
  const auto* id = object ? object->if_contains("id") : nullptr;
  if (!id || !id->is_object()) {
    const auto* type = object ? object->if_contains("type") : nullptr;
    return type && type->is_string() && type->get_string() == "GeographicCRS";
  }
  const auto* authority = id->get_object().if_contains("authority");
  const auto* code = id->get_object().if_contains("code");
  if (!authority || !code || !authority->is_string()) return false;
  const std::string name = authority->get_string().c_str();
  const std::string number = code->is_string() ? std::string(code->get_string()) : json::serialize(*code);
  return (name == "EPSG" && (number == "4326" || number == "4979")) || (name == "OGC" && number.starts_with("CRS84"));
}

// ["bbox","xmin"] → "bbox.xmin".
std::string dotted(const json::value* path) {
  std::string text;
  if (!path || !path->is_array()) return text;
  for (const auto& part : path->get_array()) {
    if (!part.is_string()) return {};
    text += (text.empty() ? "" : ".") + std::string(part.get_string());
  }
  return text;
}

void read_covering(const json::object& said, GeoColumn& column) {
  const auto* covering = said.if_contains("covering");
  const auto* box = covering && covering->is_object() ? covering->get_object().if_contains("bbox") : nullptr;
  if (!box || !box->is_object()) return;
  constexpr const char* kSides[] = {"xmin", "ymin", "xmax", "ymax"};
  for (std::size_t i = 0; i < 4; ++i) column.covering[i] = dotted(box->get_object().if_contains(kSides[i]));
  for (const auto& side : column.covering)
    if (side.empty()) {
      column.covering = {};
      return;
    }
}

GeoColumn read_column(std::string_view name, const json::value& said) {
  GeoColumn column{.name = std::string(name), .encoding = "WKB"};
  const auto* object = said.if_object();
  if (!object) return column;
  if (const auto* encoding = object->if_contains("encoding"); encoding && encoding->is_string())
    column.encoding = encoding->get_string().c_str();
  if (const auto* crs = object->if_contains("crs"); crs && !crs->is_null()) {
    column.crs_json = json::serialize(*crs);
    column.degrees = is_degrees(*crs);
  }
  read_covering(*object, column);
  return column;
}

}  // namespace

Result<GeoMetadata> read_geo_metadata(const arrow::KeyValueMetadata* metadata) {
  GeoMetadata geo;
  const int at = metadata ? metadata->FindKey("geo") : -1;
  if (at < 0) return geo;
  const std::string& text = metadata->value(at);
  if (text.size() > kGeoBytesMax) return fail(ErrorKind::too_large, "its \"geo\" metadata has more than 16 MB");
  boost::system::error_code error;
  const auto parsed = json::parse(text, error);
  const auto* columns = !error && parsed.is_object() ? parsed.get_object().if_contains("columns") : nullptr;
  if (!columns || !columns->is_object())
    return fail(ErrorKind::unprocessable, "its \"geo\" metadata is no GeoParquet: no \"columns\"");
  const auto* primary = parsed.get_object().if_contains("primary_column");
  for (const auto& [name, said] : columns->get_object()) {
    if (primary && primary->is_string() && primary->get_string() == name)
      geo.primary = static_cast<int>(geo.columns.size());
    geo.columns.push_back(read_column(name, said));
  }
  if (geo.primary < 0 && geo.columns.size() == 1) geo.primary = 0;
  return geo;
}

}  // namespace fused
