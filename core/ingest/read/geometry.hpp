// The geometry of a batch as WKB, whatever the input's encoding.
#pragma once
#include <arrow/record_batch.h>

#include <memory>

#include "ingest/read/source.hpp"

namespace fused::ingest {

// Binary with 32-bit offsets; null where there is no geometry. Existing WKB is taken as it is, not copied.
Result<std::shared_ptr<arrow::Array>> wkb_column(const arrow::RecordBatch& batch, const Source& source,
                                                 std::int64_t first_row);

// Moves every position of the WKB values into EPSG:4326. Only x and y change; all else stays as it is.
Result<std::shared_ptr<arrow::Array>> transformed(const std::shared_ptr<arrow::Array>& wkb, const Transform& transform);

}  // namespace fused::ingest
