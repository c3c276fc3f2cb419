#include "table/select_rows.hpp"

#include <arrow/array.h>
#include <arrow/extension_type.h>

#include <algorithm>
#include <limits>

#include "table/intersects.hpp"

namespace fused {
namespace {

// The four sides of the covering as floats or doubles.
class Covering {
 public:
  static std::optional<Covering> of(const arrow::Table& table, const GeoColumn& geometry) {
    Covering covering;
    for (std::size_t side = 0; side < 4; ++side) {
      const std::string& path = geometry.covering[side];
      const auto dot = path.find('.');
      const auto column = table.GetColumnByName(path.substr(0, dot));
      if (!column || column->num_chunks() != 1) return std::nullopt;
      std::shared_ptr<arrow::Array> array = column->chunk(0);
      if (dot != path.npos) {
        if (array->type_id() != arrow::Type::STRUCT) return std::nullopt;
        const auto& parent = static_cast<const arrow::StructArray&>(*array);
        covering.parent_ = array;
        array = parent.GetFieldByName(path.substr(dot + 1));
      }
      if (!array || (array->type_id() != arrow::Type::FLOAT && array->type_id() != arrow::Type::DOUBLE))
        return std::nullopt;
      covering.sides_[side] = array;
    }
    return covering;
  }
  bool is_null(std::int64_t row) const { return (parent_ && parent_->IsNull(row)) || sides_[0]->IsNull(row); }
  Box box(std::int64_t row) const { return {at(0, row), at(1, row), at(2, row), at(3, row)}; }

 private:
  double at(std::size_t side, std::int64_t row) const {
    const auto& array = *sides_[side];
    return array.type_id() == arrow::Type::FLOAT ? static_cast<const arrow::FloatArray&>(array).Value(row)
                                                 : static_cast<const arrow::DoubleArray&>(array).Value(row);
  }
  std::array<std::shared_ptr<arrow::Array>, 4> sides_;
  std::shared_ptr<arrow::Array> parent_;
};

std::optional<std::string_view> wkb_at(const arrow::Array& array, std::int64_t row) {
  if (array.IsNull(row)) return std::nullopt;
  if (array.type_id() == arrow::Type::BINARY) return static_cast<const arrow::BinaryArray&>(array).GetView(row);
  return static_cast<const arrow::LargeBinaryArray&>(array).GetView(row);
}

bool apart(const Box& a, const Box& b) {
  return a.maxx < b.minx || a.minx > b.maxx || a.maxy < b.miny || a.miny > b.maxy;
}
bool inside(const Box& inner, const Box& outer) {
  return inner.minx >= outer.minx && inner.maxx <= outer.maxx && inner.miny >= outer.miny && inner.maxy <= outer.maxy;
}

Result<std::shared_ptr<arrow::Array>> geometry_of(const arrow::Table& table, const ParquetFile& file) {
  const int at = file.geometry_field();
  if (at < 0) return fail(ErrorKind::unprocessable, file.name() + " has no geometry column; read it without bounds");
  const std::string& name = file.schema()->field(at)->name();
  if (const auto* said = file.geo().primary_column(); said && (said->encoding != "WKB" || !said->degrees))
    return fail(ErrorKind::unprocessable,
                "column '" + name + "' of " + file.name() +
                    (said->degrees ? " is encoded as " + said->encoding.substr(0, 40) + ", boxes are read from WKB"
                                   : " is not in degrees (EPSG:4326)") +
                    "; ingest the table, or read its chunks by get_chunk_from_table");
  auto array = table.GetColumnByName(name)->chunk(0);
  if (array->type_id() == arrow::Type::EXTENSION) array = static_cast<const arrow::ExtensionArray&>(*array).storage();
  if (array->type_id() != arrow::Type::BINARY && array->type_id() != arrow::Type::LARGE_BINARY)
    return fail(ErrorKind::unprocessable,
                "column '" + name + "' of " + file.name() + " holds " + array->type()->ToString() + ", not WKB");
  return array;
}

}  // namespace

RowRanges rows_with_boxes_near(const arrow::Table& covering, const ParquetFile& file, const RowRanges& rows,
                               std::span<const Box> boxes) {
  const auto* said = file.geo().primary_column();
  const auto sides = said ? Covering::of(covering, *said) : std::nullopt;
  if (!sides) return rows;
  std::vector<std::int64_t> near;
  std::int64_t at = 0;
  for (const RowRange& range : rows)
    for (std::int64_t row = range.begin; row < range.end; ++row, ++at) {
      if (sides->is_null(at)) continue;
      const Box box = sides->box(at);
      if (std::ranges::any_of(boxes, [&](const Box& wanted) { return !apart(box, wanted); })) near.push_back(row);
    }
  return intersection(ranges_of(near), rows);
}

std::optional<std::vector<Box>> covering_boxes(const arrow::Table& covering, const ParquetFile& file) {
  const auto* said = file.geo().primary_column();
  const auto sides = said ? Covering::of(covering, *said) : std::nullopt;
  if (!sides) return std::nullopt;
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  std::vector<Box> boxes;
  boxes.reserve(static_cast<std::size_t>(covering.num_rows()));
  for (std::int64_t row = 0; row < covering.num_rows(); ++row)
    boxes.push_back(sides->is_null(row) ? Box{kNone, kNone, kNone, kNone} : sides->box(row));
  return boxes;
}

Result<std::vector<std::int64_t>> rows_that_meet(const arrow::Table& table, const ParquetFile& file,
                                                 std::span<const Box> boxes) {
  std::vector<std::int64_t> rows;
  if (table.num_rows() == 0) return rows;
  const auto geometry = FUSED_TRY(geometry_of(table, file));
  const auto* said = file.geo().primary_column();
  const auto covering = said && file.covering_field() >= 0 ? Covering::of(table, *said) : std::nullopt;
  for (std::int64_t row = 0; row < table.num_rows(); ++row) {
    std::span<const Box> left = boxes;
    if (covering) {
      if (covering->is_null(row)) continue;  // no box: no geometry
      const Box box = covering->box(row);
      while (!left.empty() && apart(box, left.front())) left = left.subspan(1);
      if (left.empty()) continue;
      if (std::ranges::any_of(left, [&](const Box& wanted) { return inside(box, wanted); })) {
        rows.push_back(row);
        continue;
      }
    }
    const auto wkb = wkb_at(*geometry, row);
    if (!wkb) continue;
    for (const Box& box : left) {
      const auto meets = meets_box(std::as_bytes(std::span(*wkb)), box);
      if (!meets)
        return std::unexpected(meets.error().within("a geometry of " + file.name() + " (row " + std::to_string(row) +
                                                    " of what was read)"));
      if (!*meets) continue;
      rows.push_back(row);
      break;
    }
  }
  return rows;
}

}  // namespace fused
