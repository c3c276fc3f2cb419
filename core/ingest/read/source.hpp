// One input as ingest sees it: which columns, where the geometry is and how it is written, and in which CRS.
#pragma once
#include <arrow/type.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace fused::ingest {

enum class SourceKind { parquet, ipc, csv, stream };
enum class Encoding { wkb, geoarrow, lonlat, none };

// Coordinates to EPSG:4326 (longitude, latitude), in place. Called from any thread.
using Transform = std::function<Status(std::span<double> x, std::span<double> y)>;
// WKB of one geometry to its pieces. Called from any thread.
using Subdivide = std::function<Result<std::vector<std::string>>(std::string_view wkb)>;

struct Source {
  SourceKind kind = SourceKind::parquet;
  std::string path;
  std::string name;  // file, and layer where there are several: for messages
  std::uint32_t index = 0;
  std::shared_ptr<arrow::Schema> schema;
  std::int64_t rows = -1;   // -1: not known before
  std::int64_t groups = 1;  // pieces that can be read beside each other

  Encoding encoding = Encoding::none;
  std::string geometry;                                 // column of the source
  std::string geoarrow_type;                            // Encoding::geoarrow: "point" … "multipolygon"
  std::string longitude, latitude;                      // Encoding::lonlat
  std::string crs;                                      // PROJJSON or "EPSG:…"; "" when the input does not say
  bool has_crs = false;                                 // it says, or its format implies one
  std::vector<std::string> hidden;                      // columns that are not data: the covering of the geometry
  std::map<std::string, std::string> other_geometries;  // column → its GeoParquet description (JSON)
  std::vector<std::string> choices;                     // geometry columns among which none is chosen
  char delimiter = ',';                                 // csv
  std::int64_t data_start = 0;                          // csv: behind the header line
  Transform transform;                                  // null: already EPSG:4326
};

// Opens a Parquet, Arrow IPC/Feather or CSV file (a path or an s3:// URL) and reads what it says of itself.
// `lonlat` names two columns to make points of, or is empty; `geometry` chooses a column, or is empty.
Result<Source> inspect_file(const std::string& path, SourceKind kind, const std::vector<std::string>& lonlat,
                            const std::string& geometry, char delimiter);

// Fills in geometry, encoding and CRS from the schema and its "geo" metadata.
Status find_geometry(Source& source, const std::vector<std::string>& lonlat, const std::string& geometry);

// "EPSG:4326", "OGC:CRS84", or a PROJJSON that names one of them.
bool is_lonlat_wgs84(std::string_view crs);

}  // namespace fused::ingest
