// Extended WKB (PostGIS: flags for Z and M, an SRID) as ISO WKB, which GeoParquet asks for.
#pragma once
#include <arrow/array.h>

#include <memory>

#include "ingest/read/source.hpp"

namespace fused::ingest {

// The same array when no value is extended. An SRID that is not 4326 in a source whose CRS is longitude and latitude is
// an error that names the row: the two contradict each other. Broken values stay as they are; measuring names them.
Result<std::shared_ptr<arrow::Array>> iso_wkb(const std::shared_ptr<arrow::Array>& wkb, const Source& source,
                                              std::int64_t first_row);

}  // namespace fused::ingest
