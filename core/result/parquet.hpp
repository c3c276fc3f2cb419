// Tables as Parquet (GeoParquet 1.1 where there is geometry) and as Feather v2 (Arrow IPC file).
#pragma once
#include <arrow/buffer.h>

#include <memory>
#include <string>

#include "result/frame.hpp"

namespace fused::result {

// `pandas_metadata`: the JSON that pandas keeps under the schema key "pandas" so that index and types come back; "" for
// none. With geometry: WKB columns, `geo` metadata (types, bbox, CRS as PROJJSON, covering) and a column "bbox" of
// struct<xmin,ymin,xmax,ymax: float>, rounded outwards, unless the table has a column of that name already.
Result<std::shared_ptr<arrow::Buffer>> encode_parquet(const Frame& frame, const std::string& pandas_metadata);
Result<std::shared_ptr<arrow::Buffer>> encode_feather(const Frame& frame, const std::string& pandas_metadata);

}  // namespace fused::result
