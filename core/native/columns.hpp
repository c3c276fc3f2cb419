// Python columns → Arrow columns, without copies where the memory allows it. The GIL is held in all of this.
#pragma once
#include <nanobind/nanobind.h>

#include <memory>
#include <optional>

#include "result/frame.hpp"
#include "result/geos.hpp"

namespace fused::native {

struct ColumnSource {
  // Set by use_shapely; null where geometry columns arrive as WKB.
  std::shared_ptr<result::Geos> geos;
  char (*geometry_of)(PyObject*, void**) = nullptr;  // 0: not a geometry
};

// One of:
//   numpy array, one dimension: bool, integers, floats; object arrays of text and missing values
//   ("timestamp", int64 array, unit "s|ms|us|ns", timezone or "")       NaT is the smallest int64
//   ("duration", int64 array, unit)
//   ("masked", numpy array, bool array: True where missing)
//   ("geometry", object array of shapely geometries and missing values, PROJJSON or "")
//   ("wkb", object with the Arrow capsule protocol, PROJJSON or "")
//   ("json", list of bytes, None for missing)
//   an object with __arrow_c_stream__ or __arrow_c_array__
// Nothing when the column is none of them: the caller finds another way for it.
std::optional<result::Column> column_from_python(const ColumnSource& source, std::string name, nanobind::handle column);

// Every column of a table with __arrow_c_stream__ (pyarrow, polars, duckdb …).
result::Frame frame_from_arrow(nanobind::handle table);

}  // namespace fused::native
