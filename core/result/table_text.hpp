// Tables as text: JSON records, CSV, GeoJSON.
#pragma once
#include <cstdint>
#include <string>

#include "result/frame.hpp"

namespace fused::result {

// [{"column": value, …}, …]; no line breaks. too_large when more than `bytes_max` would be written.
Result<std::string> encode_json(const Frame& frame, std::int64_t bytes_max);

// RFC 4180 quoting, line feeds, header line; no value is an empty field, an empty text is "" in quotes; geometries are
// WKT, nested values JSON, booleans True/False.
Result<std::string> encode_csv(const Frame& frame, std::int64_t bytes_max);

// RFC 7946 FeatureCollection of the primary geometry, which must be in degrees (EPSG:4326) already. The other columns
// are properties. A column "id" of integers or text is each feature's id too.
Result<std::string> encode_geojson(const Frame& frame, std::int64_t bytes_max);

}  // namespace fused::result
