#include "result/cells.hpp"

#include <arrow/array.h>
#include <arrow/extension_type.h>
#include <arrow/scalar.h>
#include <arrow/type.h>
#include <arrow/util/float16.h>

#include "result/geojson_geometry.hpp"
#include "result/text.hpp"

namespace fused::result {
namespace {

using Writer = std::unique_ptr<CellWriter>;

Result<Writer> make(const std::shared_ptr<arrow::Array>& array);

// Adds the null check to a callable (array, row, out).
template <class ArrayType, class Append>
class TypedCell final : public CellWriter {
 public:
  TypedCell(std::shared_ptr<arrow::Array> array, Append append)
      : kept_(std::move(array)), array_(static_cast<const ArrayType&>(*kept_)), append_(std::move(append)) {}
  void append_json(std::int64_t row, std::string& out) const override {
    if (array_.IsNull(row)) {
      out += "null";
    } else {
      append_(array_, row, out);
    }
  }

 private:
  std::shared_ptr<arrow::Array> kept_;
  const ArrayType& array_;
  Append append_;
};

template <class ArrayType, class Append>
Writer typed(const std::shared_ptr<arrow::Array>& array, Append append) {
  return std::make_unique<TypedCell<ArrayType, Append>>(array, std::move(append));
}

template <class ArrayType>
Writer number(const std::shared_ptr<arrow::Array>& array) {
  return typed<ArrayType>(array, [](const ArrayType& a, std::int64_t row, std::string& out) {
    if constexpr (std::is_floating_point_v<typename ArrayType::value_type>) {
      append_json_number(out, a.Value(row));
    } else {
      append_integer(out, a.Value(row));
    }
  });
}

template <class ArrayType>
Writer text(const std::shared_ptr<arrow::Array>& array) {
  return typed<ArrayType>(
      array, [](const ArrayType& a, std::int64_t row, std::string& out) { append_json_string(out, a.GetView(row)); });
}

template <class ArrayType>
Writer bytes(const std::shared_ptr<arrow::Array>& array) {
  return typed<ArrayType>(array, [](const ArrayType& a, std::int64_t row, std::string& out) {
    out += '"';
    append_base64(out, a.GetView(row));
    out += '"';
  });
}

int digits_of(arrow::TimeUnit::type unit) { return static_cast<int>(unit) * 3; }

std::int64_t nanoseconds_per(arrow::TimeUnit::type unit) {
  static constexpr std::int64_t kFactors[] = {1'000'000'000, 1'000'000, 1'000, 1};
  return kFactors[static_cast<int>(unit)];
}

Writer timestamp(const std::shared_ptr<arrow::Array>& array) {
  const auto& type = static_cast<const arrow::TimestampType&>(*array->type());
  return typed<arrow::TimestampArray>(array, [digits = digits_of(type.unit()), zoned = !type.timezone().empty()](
                                                 const arrow::TimestampArray& a, std::int64_t row, std::string& out) {
    out += '"';
    append_timestamp(out, a.Value(row), digits);
    out += zoned ? "Z\"" : "\"";  // Arrow keeps zoned times in UTC
  });
}

template <class ArrayType>
Writer time_of_day(const std::shared_ptr<arrow::Array>& array) {
  const auto& type = static_cast<const arrow::TimeType&>(*array->type());
  return typed<ArrayType>(
      array, [factor = nanoseconds_per(type.unit())](const ArrayType& a, std::int64_t row, std::string& out) {
        out += '"';
        append_time_of_day(out, a.Value(row) * factor);
        out += '"';
      });
}

// Seconds, as the client sends a Timedelta too.
Writer duration(const std::shared_ptr<arrow::Array>& array) {
  const auto& type = static_cast<const arrow::DurationType&>(*array->type());
  return typed<arrow::DurationArray>(array, [factor = nanoseconds_per(type.unit())](
                                                const arrow::DurationArray& a, std::int64_t row, std::string& out) {
    append_json_number(out, static_cast<double>(a.Value(row)) / (1e9 / static_cast<double>(factor)));
  });
}

template <class ArrayType>
Result<Writer> list(const std::shared_ptr<arrow::Array>& array) {
  Writer item = FUSED_TRY(make(static_cast<const ArrayType&>(*array).values()));
  return typed<ArrayType>(array, [item = std::shared_ptr<CellWriter>(std::move(item))](
                                     const ArrayType& a, std::int64_t row, std::string& out) {
    out += '[';
    const std::int64_t begin = a.value_offset(row), count = a.value_length(row);
    for (std::int64_t i = 0; i < count; ++i) {
      if (i != 0) out += ',';
      item->append_json(begin + i, out);
    }
    out += ']';
  });
}

Result<Writer> structure(const std::shared_ptr<arrow::Array>& array) {
  const auto& parent = static_cast<const arrow::StructArray&>(*array);
  auto keys = std::make_shared<std::vector<std::pair<std::string, Writer>>>();
  for (int i = 0; i < parent.num_fields(); ++i) {
    std::string key;
    append_json_string(key, parent.struct_type()->field(i)->name());
    keys->emplace_back(key + ":", FUSED_TRY(make(parent.field(i))));
  }
  return typed<arrow::StructArray>(array, [keys](const arrow::StructArray&, std::int64_t row, std::string& out) {
    out += '{';
    bool first = true;
    for (const auto& [key, value] : *keys) {
      if (!first) out += ',';
      first = false;
      out += key;
      value->append_json(row, out);
    }
    out += '}';
  });
}

bool is_text(const arrow::DataType& type) {
  return type.id() == arrow::Type::STRING || type.id() == arrow::Type::LARGE_STRING ||
         type.id() == arrow::Type::STRING_VIEW;
}

// An object where the keys are text, pairs where they are not.
Result<Writer> map(const std::shared_ptr<arrow::Array>& array) {
  const auto& parent = static_cast<const arrow::MapArray&>(*array);
  const bool object = is_text(*parent.keys()->type());
  std::shared_ptr<CellWriter> key = FUSED_TRY(make(parent.keys()));
  std::shared_ptr<CellWriter> item = FUSED_TRY(make(parent.items()));
  return typed<arrow::MapArray>(array, [=](const arrow::MapArray& a, std::int64_t row, std::string& out) {
    out += object ? '{' : '[';
    for (std::int64_t i = 0; i < a.value_length(row); ++i) {
      if (i != 0) out += ',';
      if (!object) out += '[';
      key->append_json(a.value_offset(row) + i, out);
      out += object ? ':' : ',';
      item->append_json(a.value_offset(row) + i, out);
      if (!object) out += ']';
    }
    out += object ? '}' : ']';
  });
}

Result<Writer> dictionary(const std::shared_ptr<arrow::Array>& array) {
  std::shared_ptr<CellWriter> value = FUSED_TRY(make(static_cast<const arrow::DictionaryArray&>(*array).dictionary()));
  return typed<arrow::DictionaryArray>(array,
                                       [value](const arrow::DictionaryArray& a, std::int64_t row, std::string& out) {
                                         value->append_json(a.GetValueIndex(row), out);
                                       });
}

template <class ArrayType>
Writer decimal(const std::shared_ptr<arrow::Array>& array) {
  return typed<ArrayType>(array,
                          [](const ArrayType& a, std::int64_t row, std::string& out) { out += a.FormatValue(row); });
}

// Types without a JSON counterpart (intervals, unions, run-end encoded): their text.
Writer as_text(const std::shared_ptr<arrow::Array>& array) {
  return typed<arrow::Array>(array, [](const arrow::Array& a, std::int64_t row, std::string& out) {
    auto scalar = a.GetScalar(row);
    append_json_string(out, scalar.ok() ? (*scalar)->ToString() : scalar.status().message());
  });
}

Result<Writer> make_nested(const std::shared_ptr<arrow::Array>& array) {
  switch (array->type_id()) {
    case arrow::Type::LIST: return list<arrow::ListArray>(array);
    case arrow::Type::LARGE_LIST: return list<arrow::LargeListArray>(array);
    case arrow::Type::FIXED_SIZE_LIST: return list<arrow::FixedSizeListArray>(array);
    case arrow::Type::LIST_VIEW: return list<arrow::ListViewArray>(array);
    case arrow::Type::STRUCT: return structure(array);
    case arrow::Type::MAP: return map(array);
    case arrow::Type::DICTIONARY: return dictionary(array);
    case arrow::Type::EXTENSION: return make(static_cast<const arrow::ExtensionArray&>(*array).storage());
    default: return as_text(array);
  }
}

Result<Writer> make(const std::shared_ptr<arrow::Array>& array) {
  switch (array->type_id()) {
    case arrow::Type::NA: return typed<arrow::Array>(array, [](const auto&, std::int64_t, std::string&) {});
    case arrow::Type::BOOL:
      return typed<arrow::BooleanArray>(array, [](const arrow::BooleanArray& a, std::int64_t row, std::string& out) {
        out += a.Value(row) ? "true" : "false";
      });
    case arrow::Type::INT8: return number<arrow::Int8Array>(array);
    case arrow::Type::INT16: return number<arrow::Int16Array>(array);
    case arrow::Type::INT32: return number<arrow::Int32Array>(array);
    case arrow::Type::INT64: return number<arrow::Int64Array>(array);
    case arrow::Type::UINT8: return number<arrow::UInt8Array>(array);
    case arrow::Type::UINT16: return number<arrow::UInt16Array>(array);
    case arrow::Type::UINT32: return number<arrow::UInt32Array>(array);
    case arrow::Type::UINT64: return number<arrow::UInt64Array>(array);
    case arrow::Type::HALF_FLOAT:
      return typed<arrow::HalfFloatArray>(
          array, [](const arrow::HalfFloatArray& a, std::int64_t row, std::string& out) {
            append_json_number(out, arrow::util::Float16::FromBits(a.Value(row)).ToFloat());
          });
    case arrow::Type::FLOAT: return number<arrow::FloatArray>(array);
    case arrow::Type::DOUBLE: return number<arrow::DoubleArray>(array);
    case arrow::Type::STRING: return text<arrow::StringArray>(array);
    case arrow::Type::LARGE_STRING: return text<arrow::LargeStringArray>(array);
    case arrow::Type::STRING_VIEW: return text<arrow::StringViewArray>(array);
    case arrow::Type::BINARY: return bytes<arrow::BinaryArray>(array);
    case arrow::Type::LARGE_BINARY: return bytes<arrow::LargeBinaryArray>(array);
    case arrow::Type::BINARY_VIEW: return bytes<arrow::BinaryViewArray>(array);
    case arrow::Type::FIXED_SIZE_BINARY: return bytes<arrow::FixedSizeBinaryArray>(array);
    case arrow::Type::DATE32:
      return typed<arrow::Date32Array>(array, [](const arrow::Date32Array& a, std::int64_t row, std::string& out) {
        out += '"';
        append_date(out, a.Value(row));
        out += '"';
      });
    case arrow::Type::DATE64:
      return typed<arrow::Date64Array>(array, [](const arrow::Date64Array& a, std::int64_t row, std::string& out) {
        out += '"';
        append_timestamp(out, a.Value(row), 3);
        out += '"';
      });
    case arrow::Type::TIMESTAMP: return timestamp(array);
    case arrow::Type::TIME32: return time_of_day<arrow::Time32Array>(array);
    case arrow::Type::TIME64: return time_of_day<arrow::Time64Array>(array);
    case arrow::Type::DURATION: return duration(array);
    case arrow::Type::DECIMAL32: return decimal<arrow::Decimal32Array>(array);
    case arrow::Type::DECIMAL64: return decimal<arrow::Decimal64Array>(array);
    case arrow::Type::DECIMAL128: return decimal<arrow::Decimal128Array>(array);
    case arrow::Type::DECIMAL256: return decimal<arrow::Decimal256Array>(array);
    default: return make_nested(array);
  }
}

}  // namespace

Result<std::unique_ptr<CellWriter>> make_cell_writer(const Column& column) {
  switch (column.kind) {
    case ColumnKind::plain: break;
    case ColumnKind::json:
      return typed<arrow::StringArray>(column.values, [](const arrow::StringArray& a, std::int64_t row,
                                                         std::string& out) { out += a.GetView(row); });
    case ColumnKind::geometry:
      return typed<arrow::BinaryArray>(column.values,
                                       [](const arrow::BinaryArray& a, std::int64_t row, std::string& out) {
                                         append_geojson_geometry(out, a.GetView(row));
                                       });
  }
  return make(column.values);
}

}  // namespace fused::result
