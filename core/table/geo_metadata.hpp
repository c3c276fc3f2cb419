// What GeoParquet's "geo" key says of the geometry columns of a file.
#pragma once
#include <arrow/util/key_value_metadata.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace fused {

struct GeoColumn {
  std::string name;
  std::string encoding;                 // "WKB", "point" …
  std::string crs_json;                 // PROJJSON; "" where none is given (then it is degrees)
  bool degrees = true;                  // longitude and latitude: OGC:CRS84, EPSG:4326, or nothing said
  std::array<std::string, 4> covering;  // dotted paths of xmin, ymin, xmax, ymax; all "" without
  bool has_covering() const { return !covering[0].empty(); }
};

struct GeoMetadata {
  std::vector<GeoColumn> columns;
  int primary = -1;  // index into columns

  const GeoColumn* primary_column() const {
    return primary < 0 ? nullptr : &columns[static_cast<std::size_t>(primary)];
  }
};

// Without a "geo" key: no columns. unprocessable for one that is no JSON of that shape.
Result<GeoMetadata> read_geo_metadata(const arrow::KeyValueMetadata* metadata);

}  // namespace fused
