// A table that was read as the encoders of core/result take it.
#pragma once
#include <arrow/table.h>

#include "base/result.hpp"
#include "result/frame.hpp"

namespace fused::reader {

// Geometry columns are those that the "geo" metadata names and that hold WKB, or a binary column "geometry".
Result<result::Frame> frame_of(const arrow::Table& table);

}  // namespace fused::reader
