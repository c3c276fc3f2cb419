#include "result/mvt.hpp"

#include <arrow/array.h>
#include <arrow/util/float16.h>

#include <cmath>
#include <protozero/pbf_writer.hpp>
#include <unordered_map>

#include "result/cells.hpp"
#include "result/text.hpp"
#include "result/tile_geometry.hpp"

namespace fused::result {
namespace {

// Field numbers of vector_tile.proto 2.1.
enum Tile { kTileLayer = 3 };
enum Layer { kName = 1, kFeature = 2, kKey = 3, kValue = 4, kExtent = 5, kVersion = 15 };
enum Feature { kId = 1, kTags = 2, kType = 3, kGeometry = 4 };
enum Value { kText = 1, kFloat = 2, kDouble = 3, kUnsigned = 5, kSigned = 6, kBool = 7 };

// The layer's distinct values; a value is its encoded message.
class Values {
 public:
  std::uint32_t index_of(const std::string& message) {
    const auto [at, is_new] = index_.try_emplace(message, static_cast<std::uint32_t>(order_.size()));
    if (is_new) order_.push_back(&at->first);
    return at->second;
  }
  const std::vector<const std::string*>& order() const { return order_; }

 private:
  std::unordered_map<std::string, std::uint32_t> index_;
  std::vector<const std::string*> order_;
};

void write_integer(protozero::pbf_writer& value, std::int64_t number) {
  if (number >= 0) {
    value.add_uint64(kUnsigned, static_cast<std::uint64_t>(number));
  } else {
    value.add_sint64(kSigned, number);
  }
}

class Attribute {
 public:
  static Result<Attribute> make(const Column& column, std::uint32_t key) {
    Attribute attribute;
    attribute.key_ = key;
    Column plain = column;
    plain.values = FUSED_TRY(without_dictionary(column.values));
    attribute.values_ = plain.values;
    attribute.cell_ = FUSED_TRY(make_cell_writer(plain));
    attribute.typed_ = column.kind == ColumnKind::plain;
    return attribute;
  }
  std::uint32_t key() const { return key_; }

  // The value's message, or false where the row has none.
  bool write(std::int64_t row, std::string& message, std::string& scratch) const {
    message.clear();
    if (values_->IsNull(row)) return false;
    protozero::pbf_writer value(message);
    if (typed_ && write_typed(row, value)) return !message.empty();
    scratch.clear();
    cell_->append_json(row, scratch);
    if (scratch == "null") return false;
    if (scratch == "true" || scratch == "false") {
      value.add_bool(kBool, scratch == "true");
    } else if (scratch.front() == '"') {
      value.add_string(kText, text_of_json_string(scratch));
    } else {
      value.add_string(kText, scratch);
    }
    return true;
  }

 private:
  template <class ArrayType>
  auto at(std::int64_t row) const {
    return static_cast<const ArrayType&>(*values_).Value(row);
  }
  static void write_float(protozero::pbf_writer& value, float number) {
    if (std::isfinite(number)) value.add_float(kFloat, number);
  }

  // True when the type is one of MVT's own; nothing is written then for NaN and infinities.
  bool write_typed(std::int64_t row, protozero::pbf_writer& value) const {
    switch (values_->type_id()) {
      case arrow::Type::BOOL: value.add_bool(kBool, at<arrow::BooleanArray>(row)); return true;
      case arrow::Type::INT8: write_integer(value, at<arrow::Int8Array>(row)); return true;
      case arrow::Type::INT16: write_integer(value, at<arrow::Int16Array>(row)); return true;
      case arrow::Type::INT32: write_integer(value, at<arrow::Int32Array>(row)); return true;
      case arrow::Type::INT64: write_integer(value, at<arrow::Int64Array>(row)); return true;
      case arrow::Type::UINT8: value.add_uint64(kUnsigned, at<arrow::UInt8Array>(row)); return true;
      case arrow::Type::UINT16: value.add_uint64(kUnsigned, at<arrow::UInt16Array>(row)); return true;
      case arrow::Type::UINT32: value.add_uint64(kUnsigned, at<arrow::UInt32Array>(row)); return true;
      case arrow::Type::UINT64: value.add_uint64(kUnsigned, at<arrow::UInt64Array>(row)); return true;
      case arrow::Type::HALF_FLOAT:
        write_float(value, arrow::util::Float16::FromBits(at<arrow::HalfFloatArray>(row)).ToFloat());
        return true;
      case arrow::Type::FLOAT: write_float(value, at<arrow::FloatArray>(row)); return true;
      case arrow::Type::DOUBLE:
        if (const double number = at<arrow::DoubleArray>(row); std::isfinite(number)) value.add_double(kDouble, number);
        return true;
      default: return false;
    }
  }

  std::uint32_t key_ = 0;
  bool typed_ = false;
  std::shared_ptr<arrow::Array> values_;
  std::unique_ptr<CellWriter> cell_;
};

// Feature ids from a column "id" of integers that are not negative.
class Ids {
 public:
  explicit Ids(const Frame& frame) {
    for (const Column& column : frame.columns)
      if (column.name == "id" && column.kind == ColumnKind::plain && column.values->type_id() == arrow::Type::INT64)
        values_ = static_cast<const arrow::Int64Array*>(column.values.get());
  }
  void write(std::int64_t row, protozero::pbf_writer& feature) const {
    if (values_ == nullptr || values_->IsNull(row) || values_->Value(row) < 0) return;
    feature.add_uint64(kId, static_cast<std::uint64_t>(values_->Value(row)));
  }

 private:
  const arrow::Int64Array* values_ = nullptr;
};

}  // namespace

Result<std::string> encode_mvt(const Frame& frame, TileId tile, const Geos* geos, const MvtOptions& options) {
  if (!frame.has_geometry())
    return fail(ErrorKind::not_acceptable, "a vector tile needs a geometry column and this table has none");
  const auto& wkb =
      static_cast<const arrow::BinaryArray&>(*frame.columns[static_cast<std::size_t>(frame.primary_geometry)].values);
  std::vector<Attribute> attributes;
  std::vector<std::string> keys;
  for (int i = 0; i < static_cast<int>(frame.columns.size()); ++i) {
    if (i == frame.primary_geometry) continue;
    const Column& column = frame.columns[static_cast<std::size_t>(i)];
    attributes.push_back(FUSED_TRY(Attribute::make(column, static_cast<std::uint32_t>(keys.size()))));
    keys.push_back(column.name);
  }
  const TileGrid grid(tile, options.extent, options.buffer, options.tolerance, geos);
  const Ids ids(frame);
  Values values;
  std::string layer_bytes, feature_bytes, message, scratch;
  protozero::pbf_writer layer(layer_bytes);
  layer.add_uint32(kVersion, 2);
  layer.add_string(kName, options.layer);
  bool any = false;
  for (std::int64_t row = 0; row < frame.rows; ++row) {
    if (wkb.IsNull(row)) continue;
    const auto geometries = grid.place(wkb.GetView(row));
    if (geometries.empty()) continue;
    std::vector<std::uint32_t> tags;
    for (const Attribute& attribute : attributes) {
      if (!attribute.write(row, message, scratch)) continue;
      tags.push_back(attribute.key());
      tags.push_back(values.index_of(message));
    }
    for (const TileGeometry& geometry : geometries) {
      any = true;
      feature_bytes.clear();
      protozero::pbf_writer feature(feature_bytes);
      ids.write(row, feature);
      feature.add_packed_uint32(kTags, tags.begin(), tags.end());
      feature.add_enum(kType, static_cast<std::int32_t>(geometry.type));
      feature.add_packed_uint32(kGeometry, geometry.commands.begin(), geometry.commands.end());
      layer.add_message(kFeature, feature_bytes);
    }
  }
  if (!any) return std::string();
  for (const std::string& key : keys) layer.add_string(kKey, key);
  for (const std::string* value : values.order()) layer.add_message(kValue, *value);
  layer.add_uint32(kExtent, static_cast<std::uint32_t>(options.extent));
  std::string out;
  protozero::pbf_writer(out).add_message(kTileLayer, layer_bytes);
  return out;
}

}  // namespace fused::result
