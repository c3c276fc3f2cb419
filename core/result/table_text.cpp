#include "result/table_text.hpp"

#include <arrow/array.h>

#include "geo/wkb.hpp"
#include "result/cells.hpp"
#include "result/geojson_geometry.hpp"
#include "result/text.hpp"

namespace fused::result {
namespace {

std::unexpected<Error> over(std::int64_t bytes_max) {
  return fail(ErrorKind::too_large, "the result has more than " + std::to_string(bytes_max) +
                                        " bytes, the limit of a result; return fewer rows or a binary format");
}

struct KeyedCell {
  std::string key;  // "name": with quotes and colon
  std::unique_ptr<CellWriter> cell;
};

Result<std::vector<KeyedCell>> keyed_cells(const Frame& frame, int without) {
  std::vector<KeyedCell> cells;
  for (int i = 0; i < static_cast<int>(frame.columns.size()); ++i) {
    if (i == without) continue;
    KeyedCell keyed;
    append_json_string(keyed.key, frame.columns[i].name);
    keyed.key += ':';
    keyed.cell = FUSED_TRY(make_cell_writer(frame.columns[i]));
    cells.push_back(std::move(keyed));
  }
  return cells;
}

void append_object(const std::vector<KeyedCell>& cells, std::int64_t row, std::string& out) {
  out += '{';
  bool first = true;
  for (const auto& [key, cell] : cells) {
    if (!first) out += ',';
    first = false;
    out += key;
    cell->append_json(row, out);
  }
  out += '}';
}

// Where the written length of the first rows tells the whole, one allocation does.
void reserve_ahead(std::string& out, std::int64_t row, std::int64_t rows, std::int64_t bytes_max) {
  if (row != 64) return;
  const auto expected = static_cast<std::int64_t>(out.size()) * rows / 64;
  out.reserve(static_cast<std::size_t>(std::min(expected + expected / 8, bytes_max)));
}

void append_csv_text(std::string& out, std::string_view text) {
  if (!text.empty() && text.find_first_of(",\"\n\r") == text.npos) {
    out += text;
    return;
  }
  out += '"';
  for (char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

enum class CsvKind { geometry, boolean, text, json, other };

struct CsvColumn {
  CsvKind kind;
  std::shared_ptr<arrow::Array> values;
  std::unique_ptr<CellWriter> cell;
};

CsvKind csv_kind(const Column& column) {
  if (column.kind == ColumnKind::geometry) return CsvKind::geometry;
  if (column.kind == ColumnKind::json) return CsvKind::json;
  switch (column.values->type_id()) {
    case arrow::Type::BOOL: return CsvKind::boolean;
    case arrow::Type::STRING: [[fallthrough]];
    case arrow::Type::LARGE_STRING: [[fallthrough]];
    case arrow::Type::STRING_VIEW: return CsvKind::text;
    default: return CsvKind::other;
  }
}

std::string_view text_at(const arrow::Array& values, std::int64_t row) {
  switch (values.type_id()) {
    case arrow::Type::STRING: return static_cast<const arrow::StringArray&>(values).GetView(row);
    case arrow::Type::LARGE_STRING: return static_cast<const arrow::LargeStringArray&>(values).GetView(row);
    default: return static_cast<const arrow::StringViewArray&>(values).GetView(row);
  }
}

// A JSON text as a field: strings without their JSON quotes, everything else as it is written.
void append_json_as_field(std::string& out, std::string_view json) {
  if (json == "null") return;
  if (json.front() == '"') {
    append_csv_text(out, text_of_json_string(json));
  } else {
    append_csv_text(out, json);
  }
}

void append_field(const CsvColumn& column, std::int64_t row, std::string& scratch, std::string& out) {
  if (column.values->IsNull(row)) return;
  switch (column.kind) {
    case CsvKind::boolean:
      out += static_cast<const arrow::BooleanArray&>(*column.values).Value(row) ? "True" : "False";
      return;
    case CsvKind::text: append_csv_text(out, text_at(*column.values, row)); return;
    case CsvKind::geometry:
      scratch.clear();
      append_wkt(scratch, static_cast<const arrow::BinaryArray&>(*column.values).GetView(row));
      append_csv_text(out, scratch);
      return;
    default:
      scratch.clear();
      column.cell->append_json(row, scratch);
      append_json_as_field(out, scratch);
  }
}

// An integer or text column called id, or null.
const Column* id_column(const Frame& frame) {
  for (const Column& column : frame.columns) {
    if (column.name != "id" || column.kind != ColumnKind::plain) continue;
    const auto type = column.values->type_id();
    if (arrow::is_integer(type) || arrow::is_base_binary_like(type)) return &column;
  }
  return nullptr;
}

Result<GeometryExtent> extent_of(const arrow::BinaryArray& wkb) {
  GeometryExtent all;
  for (std::int64_t row = 0; row < wkb.length(); ++row) {
    if (wkb.IsNull(row)) continue;
    const std::string_view bytes = wkb.GetView(row);
    const auto one = FUSED_TRY(wkb_extent({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}));
    if (one.empty) continue;
    if (all.empty) {
      all = one;
      continue;
    }
    all.box = {std::min(all.box.minx, one.box.minx), std::min(all.box.miny, one.box.miny),
               std::max(all.box.maxx, one.box.maxx), std::max(all.box.maxy, one.box.maxy)};
  }
  return all;
}

}  // namespace

Result<std::string> encode_json(const Frame& frame, std::int64_t bytes_max) {
  const auto cells = FUSED_TRY(keyed_cells(frame, -1));
  std::string out = "[";
  for (std::int64_t row = 0; row < frame.rows; ++row) {
    if (row != 0) out += ',';
    append_object(cells, row, out);
    reserve_ahead(out, row, frame.rows, bytes_max);
    if (static_cast<std::int64_t>(out.size()) > bytes_max) return over(bytes_max);
  }
  out += ']';
  return out;
}

Result<std::string> encode_csv(const Frame& frame, std::int64_t bytes_max) {
  std::vector<CsvColumn> columns;
  std::string out, scratch;
  for (const Column& column : frame.columns) {
    if (!columns.empty()) out += ',';
    append_csv_text(out, column.name);
    Column plain = column;
    plain.values = FUSED_TRY(without_dictionary(column.values));
    columns.push_back({csv_kind(plain), plain.values, FUSED_TRY(make_cell_writer(plain))});
  }
  out += '\n';
  for (std::int64_t row = 0; row < frame.rows; ++row) {
    const std::size_t line = out.size();
    bool first = true;
    for (const CsvColumn& column : columns) {
      if (!first) out += ',';
      first = false;
      append_field(column, row, scratch, out);
    }
    if (out.size() == line && columns.size() == 1) out += R"("")";  // else readers skip the line and lose the row
    out += '\n';
    reserve_ahead(out, row, frame.rows, bytes_max);
    if (static_cast<std::int64_t>(out.size()) > bytes_max) return over(bytes_max);
  }
  return out;
}

Result<std::string> encode_geojson(const Frame& frame, std::int64_t bytes_max) {
  if (!frame.has_geometry())
    return fail(ErrorKind::not_acceptable, "GeoJSON needs a geometry column and this table has none");
  const auto& wkb = static_cast<const arrow::BinaryArray&>(*frame.columns[frame.primary_geometry].values);
  const auto cells = FUSED_TRY(keyed_cells(frame, frame.primary_geometry));
  const Column* id = id_column(frame);
  std::unique_ptr<CellWriter> id_cell;
  if (id != nullptr) id_cell = FUSED_TRY(make_cell_writer(*id));

  std::string out = R"({"type":"FeatureCollection",)";
  if (const auto all = FUSED_TRY(extent_of(wkb)); !all.empty) {
    out += R"("bbox":[)";
    append_fixed(out, all.box.minx, 7);
    for (double edge : {all.box.miny, all.box.maxx, all.box.maxy}) {
      out += ',';
      append_fixed(out, edge, 7);
    }
    out += "],";
  }
  out += R"("features":[)";
  for (std::int64_t row = 0; row < frame.rows; ++row) {
    out += row == 0 ? R"({"type":"Feature",)" : R"(,{"type":"Feature",)";
    if (id_cell && !id->values->IsNull(row)) {
      out += R"("id":)";
      id_cell->append_json(row, out);
      out += ',';
    }
    out += R"("properties":)";
    append_object(cells, row, out);
    out += R"(,"geometry":)";
    if (wkb.IsNull(row)) {
      out += "null";
    } else {
      append_geojson_geometry(out, wkb.GetView(row));
    }
    out += '}';
    reserve_ahead(out, row, frame.rows, bytes_max);
    if (static_cast<std::int64_t>(out.size()) > bytes_max) return over(bytes_max);
  }
  out += "]}";
  return out;
}

}  // namespace fused::result
