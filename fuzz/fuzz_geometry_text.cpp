// GeoJSON of any bytes is one JSON value, WKT of any bytes is text; both leave what stood before as it was.
#include <boost/json/src.hpp>
#include <cstdlib>

#include "result/geojson_geometry.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view wkb(reinterpret_cast<const char*>(data), size);
  std::string out = "before";
  const bool written = fused::result::append_geojson_geometry(out, wkb);
  if (!out.starts_with("before")) std::abort();
  boost::json::parse_options deep;
  deep.max_depth = 256;
  boost::system::error_code error;
  const auto value = boost::json::parse(std::string_view(out).substr(6), error, {}, deep);
  if (error || (written ? !value.is_object() : !value.is_null())) std::abort();
  std::string text = "before";
  fused::result::append_wkt(text, wkb);
  if (!text.starts_with("before")) std::abort();
  return 0;
}
