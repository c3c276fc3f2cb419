// Writes single cells of Arrow columns as JSON. Made once a column, called once a cell: no lookup by type in between.
#pragma once
#include <memory>
#include <string>

#include "result/frame.hpp"

namespace fused::result {

class CellWriter {
 public:
  virtual ~CellWriter() = default;
  // Appends the value of a row as JSON; "null" where the row has none. The row must exist.
  virtual void append_json(std::int64_t row, std::string& out) const = 0;
};

// Geometry columns become GeoJSON geometries in their own coordinate reference system.
Result<std::unique_ptr<CellWriter>> make_cell_writer(const Column& column);

}  // namespace fused::result
