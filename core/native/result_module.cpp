// Python face of the result room: a Frame is made once and written in any format; images and JSON values need no Frame.
#include <arrow/array.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "geo/tile.hpp"
#include "native/bytes.hpp"
#include "native/columns.hpp"
#include "native/json_value.hpp"
#include "result/image.hpp"
#include "result/mvt.hpp"
#include "result/npy.hpp"
#include "result/parquet.hpp"
#include "result/table_text.hpp"

namespace nb = nanobind;

namespace fused::native {
namespace {

using result::Frame;

ColumnSource& source() {
  static ColumnSource instance;  // one interpreter, one shapely
  return instance;
}

// Once a process, after shapely has been imported. `capsule` is shapely.lib._C_API, whose second function reads a
// geometry object; `point` is Point(1, 2), on which the whole way is tried before it is trusted.
bool use_shapely(const std::string& library, nb::handle capsule, nb::handle point, nb::bytes wanted_wkb) {
  auto geos = result::Geos::open(library);
  void** functions = static_cast<void**>(PyCapsule_GetPointer(capsule.ptr(), PyCapsule_GetName(capsule.ptr())));
  if (functions == nullptr) PyErr_Clear();
  if (!geos || functions == nullptr) return false;
  const auto geometry_of = reinterpret_cast<char (*)(PyObject*, void**)>(functions[1]);
  void* geometry = nullptr;
  std::string wkb;
  if (geometry_of(point.ptr(), &geometry) == 0 || geometry == nullptr || !(*geos)->append_wkb(geometry, wkb))
    return false;
  if (wkb != std::string_view(wanted_wkb.c_str(), wanted_wkb.size())) return false;
  source().geos = *geos;
  source().geometry_of = geometry_of;
  return true;
}

// A Frame, or the indexes of the columns that the caller must bring into another shape.
nb::object make_frame(nb::list names, nb::list columns, int primary_geometry, std::int64_t rows) {
  Frame frame;
  frame.rows = rows;
  frame.primary_geometry = primary_geometry;
  frame.columns.reserve(columns.size());
  nb::list refused;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    auto column = column_from_python(source(), nb::cast<std::string>(names[i]), columns[i]);
    if (!column) {
      refused.append(i);
      continue;
    }
    if (column->values->length() != rows)
      throw_error({ErrorKind::unprocessable,
                   "column '" + column->name + "' has " + std::to_string(column->values->length()) + " values for " +
                       std::to_string(rows) + " rows",
                   ""});
    frame.columns.push_back(std::move(*column));
  }
  if (refused.size() > 0) return nb::object(refused);
  return nb::cast(std::move(frame));
}

template <class Encode>
nb::object without_gil(const Encode& encode) {
  auto encoded = [&] {
    nb::gil_scoped_release release;
    return encode();
  }();
  return to_python(value_or_throw(std::move(encoded)));
}

nb::object encode_mvt(const Frame& frame, int z, std::int64_t x, std::int64_t y) {
  const TileId tile = value_or_throw(check_tile(z, x, y));
  const result::Geos* geos = source().geos.get();
  return without_gil([&] { return result::encode_mvt(frame, tile, geos); });
}

std::string schema_of(const Frame& frame) {
  std::string text;
  for (const auto& column : frame.columns) text += (text.empty() ? "" : " ") + column.name + ":" + column.type_name;
  return text;
}

// A Python buffer for the length of a call.
struct HeldBuffer {
  Py_buffer view{};
  HeldBuffer(nb::handle object, int flags) {
    if (PyObject_GetBuffer(object.ptr(), &view, flags) != 0) throw nb::python_error();
  }
  ~HeldBuffer() { PyBuffer_Release(&view); }
  HeldBuffer(const HeldBuffer&) = delete;
};

// `pixels`: (height, width) or (height, width, channels), uint8 or uint16, any strides.
nb::object encode_png(nb::handle pixels, nb::bytes palette, int level) {
  HeldBuffer held(pixels, PyBUF_STRIDES);
  const Py_buffer& view = held.view;
  if ((view.ndim != 2 && view.ndim != 3) || view.itemsize > 2)
    throw_error({ErrorKind::invalid_argument, "PNG takes two or three dimensions of 8 or 16 bits", ""});
  result::PixelView image{.data = static_cast<const std::byte*>(view.buf),
                          .height = view.shape[0],
                          .width = view.shape[1],
                          .channels = view.ndim == 3 ? view.shape[2] : 1,
                          .row_stride = view.strides[0],
                          .column_stride = view.strides[1],
                          .channel_stride = view.ndim == 3 ? view.strides[2] : view.itemsize,
                          .sample_bytes = static_cast<int>(view.itemsize)};
  const std::span colours(reinterpret_cast<const std::uint8_t*>(palette.c_str()), palette.size());
  return without_gil([&] { return result::encode_png(image, colours, level); });
}

nb::object encode_tiff(nb::handle samples, std::int64_t bands, std::int64_t height, std::int64_t width,
                       int sample_bytes, int sample_format, std::vector<std::pair<std::string, std::string>> tags,
                       std::vector<double> bounds) {
  HeldBuffer held(samples, PyBUF_SIMPLE);
  const result::TiffImage image{
      .samples = {static_cast<const std::byte*>(held.view.buf), static_cast<std::size_t>(held.view.len)},
      .bands = bands,
      .height = height,
      .width = width,
      .sample_bytes = sample_bytes,
      .format = static_cast<result::SampleFormat>(sample_format),
      .tags = std::move(tags),
      .bounds = std::move(bounds)};
  return without_gil([&] { return result::encode_tiff(image); });
}

// `data` is contiguous, in C or Fortran order as `fortran_order` says.
nb::object encode_npy(nb::handle data, const std::string& descr, bool fortran_order,
                      const std::vector<std::int64_t>& shape) {
  HeldBuffer held(data, PyBUF_ANY_CONTIGUOUS);
  return without_gil([&]() -> Result<std::string> {
    std::string out = result::npy_header(descr, fortran_order, shape);
    out.append(static_cast<const char*>(held.view.buf), static_cast<std::size_t>(held.view.len));
    return out;
  });
}

nb::object json_value(nb::handle value, nb::handle other) {
  std::string out;
  append_json_value(out, value, other);
  return to_python(std::move(out));
}

// [dumps(value) for value in values] as bytes, None where `missing` says so.
nb::list json_values(nb::handle values, nb::handle missing, nb::handle other) {
  nb::list texts;
  std::string out;
  for (nb::handle value : nb::iter(values)) {
    if (nb::cast<bool>(missing(value))) {
      texts.append(nb::none());
      continue;
    }
    out.clear();
    append_json_value(out, value, other);
    texts.append(nb::bytes(out.data(), out.size()));
  }
  return texts;
}

std::tuple<double, double, double, double> tile_bounds_of(std::int64_t z, std::int64_t x, std::int64_t y) {
  const Box box = tile_bounds(value_or_throw(check_tile(z, x, y)));
  return {box.minx, box.miny, box.maxx, box.maxy};
}

}  // namespace

void bind_result(nb::module_& module) {
  bind_bytes(module);
  nb::class_<Frame>(module, "Frame").def_ro("rows", &Frame::rows).def_prop_ro("schema", &schema_of);
  module.def("use_shapely", &use_shapely);
  module.def("make_frame", &make_frame);
  module.def("frame_from_arrow", [](nb::handle table) { return frame_from_arrow(table); });
  module.def("encode_json", [](const Frame& frame, std::int64_t bytes_max) {
    return without_gil([&] { return result::encode_json(frame, bytes_max); });
  });
  module.def("encode_csv", [](const Frame& frame, std::int64_t bytes_max) {
    return without_gil([&] { return result::encode_csv(frame, bytes_max); });
  });
  module.def("encode_geojson", [](const Frame& frame, std::int64_t bytes_max) {
    return without_gil([&] { return result::encode_geojson(frame, bytes_max); });
  });
  module.def("encode_parquet", [](const Frame& frame, const std::string& pandas_metadata) {
    return without_gil([&] { return result::encode_parquet(frame, pandas_metadata); });
  });
  module.def("encode_feather", [](const Frame& frame, const std::string& pandas_metadata) {
    return without_gil([&] { return result::encode_feather(frame, pandas_metadata); });
  });
  module.def("encode_mvt", &encode_mvt);
  module.def("encode_png", &encode_png, nb::arg("pixels"), nb::arg("palette") = nb::bytes("", 0), nb::arg("level") = 1);
  module.def("encode_tiff", &encode_tiff);
  module.def("encode_npy", &encode_npy);
  module.def("json_value", &json_value);
  module.def("json_values", &json_values);
  module.def("tile_bounds", &tile_bounds_of);
}

}  // namespace fused::native
