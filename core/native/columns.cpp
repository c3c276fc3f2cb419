#include "native/columns.hpp"

#include <arrow/array.h>
#include <arrow/array/concatenate.h>
#include <arrow/buffer_builder.h>
#include <arrow/builder.h>
#include <arrow/c/bridge.h>
#include <arrow/compute/cast.h>
#include <arrow/extension_type.h>
#include <arrow/util/bit_util.h>
#include <nanobind/stl/string.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "native/bytes.hpp"

namespace nb = nanobind;

namespace fused::native {
namespace {

using result::Column;
using result::ColumnKind;

template <class T>
T arrow_value(arrow::Result<T>&& value, const char* doing) {
  if (!value.ok()) throw_error(result::from_arrow(value.status(), doing));
  return std::move(value).ValueUnsafe();
}

// Holds a Python buffer for as long as Arrow needs it.
class PythonBuffer final : public arrow::Buffer {
 public:
  explicit PythonBuffer(const Py_buffer& view)
      : arrow::Buffer(static_cast<const std::uint8_t*>(view.buf), view.len), view_(view) {}
  ~PythonBuffer() override {
    nb::gil_scoped_acquire gil;
    PyBuffer_Release(&view_);
  }

 private:
  Py_buffer view_;
};

// A borrowed view of a one-dimensional buffer; released unless handed on.
struct View {
  Py_buffer buffer{};
  bool held = false;

  explicit View(nb::handle object) {
    held = PyObject_GetBuffer(object.ptr(), &buffer, PyBUF_STRIDES | PyBUF_FORMAT) == 0;
    if (!held) PyErr_Clear();
  }
  ~View() {
    if (held) PyBuffer_Release(&buffer);
  }
  View(const View&) = delete;
  bool one_dimensional() const { return held && buffer.ndim == 1; }
  std::int64_t size() const { return buffer.shape[0]; }
  std::ptrdiff_t stride() const { return buffer.strides != nullptr ? buffer.strides[0] : buffer.itemsize; }
  bool dense() const { return stride() == buffer.itemsize || size() <= 1; }
  const char* item(std::int64_t at) const { return static_cast<const char*>(buffer.buf) + at * stride(); }
  char code() const {  // one letter of the struct module, native byte order
    const char* format = buffer.format != nullptr ? buffer.format : "B";
    if (*format == '@' || *format == '=' || *format == '<') ++format;
    return format[0] != 0 && format[1] == 0 ? *format : '\0';
  }

  // The values in one piece; takes the view over when nothing has to be copied.
  std::shared_ptr<arrow::Buffer> values() {
    if (dense()) {
      held = false;
      return std::make_shared<PythonBuffer>(buffer);
    }
    const auto item_bytes = static_cast<std::size_t>(buffer.itemsize);
    auto copy = arrow_value(arrow::AllocateBuffer(size() * buffer.itemsize), "column");
    for (std::int64_t i = 0; i < size(); ++i)
      std::memcpy(copy->mutable_data() + static_cast<std::size_t>(i) * item_bytes, item(i), item_bytes);
    return std::shared_ptr<arrow::Buffer>(std::move(copy));
  }
};

std::shared_ptr<arrow::DataType> number_type(char code, std::ptrdiff_t item_bytes) {
  const bool is_signed = std::strchr("bhilq", code) != nullptr, is_unsigned = std::strchr("BHILQ", code) != nullptr;
  if (code == '\0') return nullptr;
  if (is_signed || is_unsigned) switch (item_bytes) {
      case 1: return is_signed ? arrow::int8() : arrow::uint8();
      case 2: return is_signed ? arrow::int16() : arrow::uint16();
      case 4: return is_signed ? arrow::int32() : arrow::uint32();
      case 8: return is_signed ? arrow::int64() : arrow::uint64();
      default: return nullptr;
    }
  if (code == 'e') return arrow::float16();
  if (code == 'f') return arrow::float32();
  if (code == 'd') return arrow::float64();
  return nullptr;
}

struct Validity {
  std::shared_ptr<arrow::Buffer> bitmap;
  std::int64_t nulls = 0;
};

template <class IsNull>
Validity validity(std::int64_t size, const IsNull& is_null) {
  std::int64_t nulls = 0;
  for (std::int64_t i = 0; i < size; ++i) nulls += is_null(i);
  if (nulls == 0) return {};
  auto bitmap = arrow_value(arrow::AllocateEmptyBitmap(size), "column");
  for (std::int64_t i = 0; i < size; ++i)
    if (!is_null(i)) arrow::bit_util::SetBit(bitmap->mutable_data(), i);
  return {std::move(bitmap), nulls};
}

template <class T>
Validity not_nan(const arrow::Buffer& values, std::int64_t size) {
  const auto* data = reinterpret_cast<const T*>(values.data());
  return validity(size, [data](std::int64_t i) { return data[i] != data[i]; });
}

std::shared_ptr<arrow::Array> make_array(std::shared_ptr<arrow::DataType> type, std::int64_t size, Validity nulls,
                                         std::shared_ptr<arrow::Buffer> values) {
  return arrow::MakeArray(
      arrow::ArrayData::Make(std::move(type), size, {std::move(nulls.bitmap), std::move(values)}, nulls.nulls));
}

std::shared_ptr<arrow::Array> booleans(const View& view, Validity nulls) {
  auto bits = arrow_value(arrow::AllocateEmptyBitmap(view.size()), "column");
  for (std::int64_t i = 0; i < view.size(); ++i)
    if (*view.item(i) != 0) arrow::bit_util::SetBit(bits->mutable_data(), i);
  return make_array(arrow::boolean(), view.size(), std::move(nulls), std::move(bits));
}

// None, NaN, NaT and pandas.NA.
bool is_missing(PyObject* value) {
  if (value == Py_None) return true;
  if (PyFloat_Check(value)) return std::isnan(PyFloat_AS_DOUBLE(value));
  const char* name = Py_TYPE(value)->tp_name;
  return std::strcmp(name, "NaTType") == 0 || std::strcmp(name, "NAType") == 0 ||
         std::strcmp(name, "pandas._libs.missing.NAType") == 0 ||
         std::strcmp(name, "pandas._libs.tslibs.nattype.NaTType") == 0;
}

PyObject* object_at(const View& view, std::int64_t at) {
  PyObject* value;
  std::memcpy(&value, view.item(at), sizeof value);
  return value != nullptr ? value : Py_None;  // numpy's empty object arrays hold null pointers
}

// Lone surrogates have no UTF-8; they become "?" as everywhere else in Python's "replace".
template <class Append>
bool with_utf8(PyObject* text, const Append& append) {
  Py_ssize_t size = 0;
  if (const char* utf8 = PyUnicode_AsUTF8AndSize(text, &size)) {
    append(utf8, size);
    return true;
  }
  PyErr_Clear();
  nb::object bytes = nb::steal(PyUnicode_AsEncodedString(text, "utf-8", "replace"));
  if (!bytes.is_valid()) {
    PyErr_Clear();
    return false;
  }
  append(PyBytes_AS_STRING(bytes.ptr()), PyBytes_GET_SIZE(bytes.ptr()));
  return true;
}

void check_status(const arrow::Status& status) {
  if (!status.ok()) throw_error(result::from_arrow(status, "column"));
}

std::shared_ptr<arrow::Array> texts(const View& view) {
  arrow::LargeStringBuilder builder;
  check_status(builder.Reserve(view.size()));
  bool any = false;
  for (std::int64_t i = 0; i < view.size(); ++i) {
    PyObject* value = object_at(view, i);
    if (PyUnicode_Check(value)) {
      any = true;
      if (!with_utf8(value, [&](const char* utf8, Py_ssize_t size) { check_status(builder.Append(utf8, size)); }))
        return nullptr;
    } else if (is_missing(value)) {
      check_status(builder.AppendNull());
    } else {
      return nullptr;
    }
  }
  if (!any && view.size() > 0) return nullptr;  // all missing: another type may fit better
  return arrow_value(builder.Finish(), "column");
}

std::shared_ptr<arrow::Array> from_numpy(nb::handle array) {
  View view(array);
  if (!view.one_dimensional()) return nullptr;
  const char code = view.code();
  if (code == 'O') return texts(view);
  if (code == '?') return booleans(view, {});
  auto type = number_type(code, view.buffer.itemsize);
  if (!type) return nullptr;
  const std::int64_t size = view.size();
  auto values = view.values();
  Validity nulls;  // pandas means "missing" by NaN
  if (type->id() == arrow::Type::DOUBLE) nulls = not_nan<double>(*values, size);
  if (type->id() == arrow::Type::FLOAT) nulls = not_nan<float>(*values, size);
  return make_array(std::move(type), size, std::move(nulls), std::move(values));
}

arrow::TimeUnit::type unit_of(const char* unit) {
  if (std::strcmp(unit, "s") == 0) return arrow::TimeUnit::SECOND;
  if (std::strcmp(unit, "ms") == 0) return arrow::TimeUnit::MILLI;
  if (std::strcmp(unit, "us") == 0) return arrow::TimeUnit::MICRO;
  return arrow::TimeUnit::NANO;
}

std::shared_ptr<arrow::Array> from_ticks(nb::handle array, std::shared_ptr<arrow::DataType> type) {
  View view(array);
  if (!view.one_dimensional() || view.buffer.itemsize != 8) return nullptr;
  const std::int64_t size = view.size();
  auto values = view.values();
  const auto* ticks = reinterpret_cast<const std::int64_t*>(values->data());
  auto nulls = validity(size, [ticks](std::int64_t i) { return ticks[i] == std::numeric_limits<std::int64_t>::min(); });
  return make_array(std::move(type), size, std::move(nulls), std::move(values));
}

std::shared_ptr<arrow::Array> from_masked(nb::handle array, nb::handle mask) {
  View view(array), missing(mask);
  if (!view.one_dimensional() || !missing.one_dimensional() || missing.size() != view.size()) return nullptr;
  auto nulls = validity(view.size(), [&](std::int64_t i) { return *missing.item(i) != 0; });
  if (view.code() == '?') return booleans(view, std::move(nulls));
  auto type = number_type(view.code(), view.buffer.itemsize);
  if (!type) return nullptr;
  const std::int64_t size = view.size();
  return make_array(std::move(type), size, std::move(nulls), view.values());
}

std::shared_ptr<arrow::Array> from_geometries(const ColumnSource& source, nb::handle array) {
  View view(array);
  if (!source.geos || !view.one_dimensional() || view.code() != 'O') return nullptr;
  const std::int64_t size = view.size();
  auto offsets = arrow_value(arrow::AllocateBuffer((size + 1) * 4), "geometry");
  auto* offset = reinterpret_cast<std::int32_t*>(offsets->mutable_data());
  arrow::BufferBuilder bytes;
  std::string one;
  std::vector<bool> missing(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) {
    offset[i] = static_cast<std::int32_t>(bytes.length());
    PyObject* value = object_at(view, i);
    void* geometry = nullptr;
    one.clear();
    if (source.geometry_of(value, &geometry) == 0 || geometry == nullptr) {
      if (!is_missing(value)) return nullptr;
      missing[static_cast<std::size_t>(i)] = true;
    } else if (!source.geos->append_wkb(geometry, one)) {
      throw_error({ErrorKind::unprocessable,
                   "row " + std::to_string(i) + " holds a geometry type that WKB has no code for", ""});
    }
    const auto size_of_one = static_cast<std::int64_t>(one.size());
    if (i == 0) check_status(bytes.Reserve(std::min<std::int64_t>(size_of_one * size * 9 / 8, 64 << 20)));
    if (bytes.length() + size_of_one > std::numeric_limits<std::int32_t>::max())
      throw_error({ErrorKind::too_large, "the geometries have more than 2 GiB; return fewer rows", ""});
    check_status(bytes.Append(one.data(), size_of_one));
  }
  offset[size] = static_cast<std::int32_t>(bytes.length());
  auto nulls = validity(size, [&](std::int64_t i) { return bool(missing[static_cast<std::size_t>(i)]); });
  auto whole = arrow_value(bytes.Finish(), "geometry");
  return arrow::MakeArray(arrow::ArrayData::Make(
      arrow::binary(), size, {std::move(nulls.bitmap), std::move(offsets), std::move(whole)}, nulls.nulls));
}

std::shared_ptr<arrow::Array> from_json_texts(nb::handle texts) {
  arrow::StringBuilder builder;
  for (nb::handle text : texts) {
    if (text.is_none()) {
      check_status(builder.AppendNull());
    } else {
      check_status(
          builder.Append(PyBytes_AS_STRING(text.ptr()), static_cast<std::int32_t>(PyBytes_GET_SIZE(text.ptr()))));
    }
  }
  return arrow_value(builder.Finish(), "column");
}

std::shared_ptr<arrow::Array> one_chunk(const std::shared_ptr<arrow::ChunkedArray>& chunks) {
  if (chunks->num_chunks() == 1) return chunks->chunk(0);
  if (chunks->num_chunks() == 0) return arrow_value(arrow::MakeEmptyArray(chunks->type()), "column");
  return arrow_value(arrow::Concatenate(chunks->chunks()), "column");
}

template <class Struct>
Struct* capsule_pointer(nb::handle capsule, const char* name) {
  void* pointer = PyCapsule_GetPointer(capsule.ptr(), name);
  if (pointer == nullptr) throw nb::python_error();
  return static_cast<Struct*>(pointer);
}

std::shared_ptr<arrow::Array> from_capsule(nb::handle object) {
  if (nb::hasattr(object, "__arrow_c_stream__")) {
    nb::object capsule = object.attr("__arrow_c_stream__")();
    return one_chunk(arrow_value(
        arrow::ImportChunkedArray(capsule_pointer<ArrowArrayStream>(capsule, "arrow_array_stream")), "column"));
  }
  if (nb::hasattr(object, "__arrow_c_array__")) {
    nb::object pair = object.attr("__arrow_c_array__")();
    return arrow_value(arrow::ImportArray(capsule_pointer<ArrowArray>(pair[1], "arrow_array"),
                                          capsule_pointer<ArrowSchema>(pair[0], "arrow_schema")),
                       "column");
  }
  return nullptr;
}

std::shared_ptr<arrow::Array> as_binary(std::shared_ptr<arrow::Array> array) {
  if (array->type_id() == arrow::Type::EXTENSION) array = static_cast<arrow::ExtensionArray&>(*array).storage();
  if (array->type_id() == arrow::Type::BINARY) return array;
  return arrow_value(arrow::compute::Cast(*array, arrow::binary()), "geometry column");
}

std::shared_ptr<arrow::Array> from_tuple(const ColumnSource& source, nb::tuple tuple, Column& column) {
  const std::string kind = nb::cast<std::string>(tuple[0]);
  const auto text = [&](std::size_t at) { return nb::cast<std::string>(tuple[at]); };
  if (kind == "timestamp") return from_ticks(tuple[1], arrow::timestamp(unit_of(text(2).c_str()), text(3)));
  if (kind == "duration") return from_ticks(tuple[1], arrow::duration(unit_of(text(2).c_str())));
  if (kind == "masked") return from_masked(tuple[1], tuple[2]);
  if (kind == "json") {
    column.kind = ColumnKind::json;
    return from_json_texts(tuple[1]);
  }
  column.kind = ColumnKind::geometry;
  column.crs_json = text(2);
  if (kind == "geometry") return from_geometries(source, tuple[1]);
  auto array = from_capsule(tuple[1]);
  return array ? as_binary(std::move(array)) : nullptr;
}

// Categories whose texts are views (polars) as plain texts: Parquet has no other.
std::shared_ptr<arrow::Array> with_plain_categories(const std::shared_ptr<arrow::Array>& array) {
  if (array->type_id() != arrow::Type::DICTIONARY) return array;
  const auto& encoded = static_cast<const arrow::DictionaryArray&>(*array);
  if (encoded.dictionary()->type_id() != arrow::Type::STRING_VIEW) return array;
  auto texts = arrow_value(arrow::compute::Cast(*encoded.dictionary(), arrow::utf8()), "categories");
  return arrow_value(arrow::DictionaryArray::FromArrays(encoded.indices(), texts), "categories");
}

std::string type_name(const Column& column) {
  switch (column.kind) {
    case ColumnKind::geometry: return "geometry";
    case ColumnKind::json: return "object";
    default: break;
  }
  const auto id = column.values->type_id();
  if (id == arrow::Type::LARGE_STRING || id == arrow::Type::STRING_VIEW) return "string";
  return column.values->type()->ToString();
}

}  // namespace

std::optional<Column> column_from_python(const ColumnSource& source, std::string name, nb::handle object) {
  Column column{.name = std::move(name)};
  if (PyTuple_CheckExact(object.ptr())) {
    column.values = from_tuple(source, nb::borrow<nb::tuple>(object), column);
  } else if (PyObject_CheckBuffer(object.ptr())) {
    column.values = from_numpy(object);
  } else {
    column.values = from_capsule(object);
  }
  if (!column.values) return std::nullopt;
  column.type_name = type_name(column);
  return column;
}

result::Frame frame_from_arrow(nb::handle table) {
  nb::object capsule = table.attr("__arrow_c_stream__")();
  auto reader = arrow_value(
      arrow::ImportRecordBatchReader(capsule_pointer<ArrowArrayStream>(capsule, "arrow_array_stream")), "table");
  auto whole = arrow_value(reader->ToTable(), "table");
  result::Frame frame;
  frame.rows = whole->num_rows();
  for (int i = 0; i < whole->num_columns(); ++i) {
    Column column{.name = whole->field(i)->name(), .values = with_plain_categories(one_chunk(whole->column(i)))};
    column.type_name = type_name(column);
    frame.columns.push_back(std::move(column));
  }
  return frame;
}

}  // namespace fused::native
