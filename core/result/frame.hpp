// A table on its way to a format: Arrow columns, of which some are geometry (WKB) or ready JSON text.
#pragma once
#include <arrow/record_batch.h>
#include <arrow/table.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace fused::result {

enum class ColumnKind {
  plain,     // what its Arrow type says
  geometry,  // binary, WKB; null where there is no geometry
  json,      // utf8, each value a JSON text (object columns that no Arrow type fits)
};

struct Column {
  std::string name;
  ColumnKind kind = ColumnKind::plain;
  std::shared_ptr<arrow::Array> values;  // one chunk
  std::string crs_json;                  // geometry: PROJJSON, or "" when not known
  std::string type_name;                 // for people ("int64", "string", "geometry")
};

struct Frame {
  std::vector<Column> columns;
  std::int64_t rows = 0;
  int primary_geometry = -1;  // index into columns, or -1

  bool has_geometry() const { return primary_geometry >= 0; }
};

// Any Arrow failure as ours.
Error from_arrow(const arrow::Status& status, std::string_view doing);

// The values themselves where a column is dictionary-encoded (categories), else the column as it is.
Result<std::shared_ptr<arrow::Array>> without_dictionary(const std::shared_ptr<arrow::Array>& values);

}  // namespace fused::result

// Value of an arrow::Result, or return its failure from the enclosing Result-returning function.
#define FUSED_ARROW_TRY(doing, expression)                                                                       \
  __extension__({                                                                                                \
    auto arrow_result_ = (expression);                                                                           \
    if (!arrow_result_.ok()) return std::unexpected(::fused::result::from_arrow(arrow_result_.status(), doing)); \
    std::move(arrow_result_).ValueUnsafe();                                                                      \
  })
#define FUSED_ARROW_CHECK(doing, expression)                                     \
  do {                                                                           \
    if (auto arrow_status_ = (expression); !arrow_status_.ok())                  \
      return std::unexpected(::fused::result::from_arrow(arrow_status_, doing)); \
  } while (0)
