// Geometries that become several rows.
#pragma once
#include <arrow/record_batch.h>

#include <functional>
#include <string>
#include <vector>

#include "ingest/read/source.hpp"

namespace fused::ingest {

// The members of a multi geometry or collection as WKB of their own (collections within are taken apart too); one
// piece, the same bytes, for what is none. An empty multi geometry stays as it is.
Result<std::vector<std::string>> parts_of(std::string_view wkb);

// The batch with row i repeated once for each piece that `pieces` gives (nothing: the row stays as it is).
using Pieces = std::function<Result<std::vector<std::string>>(std::int64_t row, std::string_view wkb)>;
Result<std::shared_ptr<arrow::RecordBatch>> reshaped(const std::shared_ptr<arrow::RecordBatch>& batch, int geometry,
                                                     const Pieces& pieces);

// The rows marked, in their order.
Result<std::shared_ptr<arrow::RecordBatch>> filtered(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                     const std::vector<std::uint8_t>& keep);

}  // namespace fused::ingest
