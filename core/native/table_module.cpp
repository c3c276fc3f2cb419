// Python face of the table room: reads hand on Arrow tables by the stream interface. The GIL is not held meanwhile.
#include <arrow/c/bridge.h>
#include <arrow/table.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <optional>

#include "native/bytes.hpp"
#include "table/sample.hpp"
#include "table/table.hpp"

namespace nb = nanobind;

namespace fused::native {
namespace {

struct ArrowTable {
  std::shared_ptr<arrow::Table> table;
};

TableReader& reader() {
  static auto* instance = new TableReader();  // lives as long as Arrow's own pools
  return *instance;
}

template <class Call>
auto without_gil(Call&& call) {
  auto result = [&] {
    nb::gil_scoped_release release;
    return call();
  }();
  return value_or_throw(std::move(result));
}

nb::object stream_of(const ArrowTable& held, nb::handle /*requested_schema*/) {
  auto* stream = new ArrowArrayStream{};
  const auto status = arrow::ExportRecordBatchReader(std::make_shared<arrow::TableBatchReader>(held.table), stream);
  if (!status.ok()) {
    delete stream;
    throw_error({ErrorKind::internal, status.message(), ""});
  }
  // The name and the release are those of the Arrow PyCapsule interface.
  return nb::steal(PyCapsule_New(stream, "arrow_array_stream", [](PyObject* capsule) {
    auto* given = static_cast<ArrowArrayStream*>(PyCapsule_GetPointer(capsule, "arrow_array_stream"));
    if (given->release != nullptr) given->release(given);
    delete given;
  }));
}

ArrowTable table_chunks(const std::string& url) {
  return {without_gil([&]() -> Result<std::shared_ptr<arrow::Table>> {
    const auto table = FUSED_TRY(reader().open(url));
    const auto bytes = FUSED_TRY(read_whole(table->location(), kSampleName, kSampleBytesMax));
    return sample_table(bytes);
  })};
}

ArrowTable table_read(const std::string& url, std::optional<std::array<double, 4>> bounds,
                      std::vector<std::string> columns, std::string where, std::int64_t rows_max) {
  BoxRead read{.columns = std::move(columns), .where = std::move(where), .rows_max = rows_max};
  if (bounds) read.bounds = Box{(*bounds)[0], (*bounds)[1], (*bounds)[2], (*bounds)[3]};
  return {without_gil([&] { return reader().read_box(url, read); })};
}

ArrowTable table_read_chunk(const std::string& url, const std::optional<std::string>& file_id,
                            std::optional<std::int64_t> chunk_id, const std::vector<std::string>& columns) {
  return {without_gil([&] { return reader().read_chunk(url, file_id, chunk_id, columns); })};
}

using Row = std::tuple<std::string, std::int64_t, std::array<double, 4>, double, double, std::int64_t, std::int64_t>;

nb::object make_sample(const std::vector<Row>& given) {
  std::vector<ChunkRow> rows;
  for (const auto& [file, chunk, box, area, length, coords, count] : given)
    rows.push_back({file, chunk, {box[0], box[1], box[2], box[3]}, area, length, coords, count});
  return to_python(without_gil([&] { return sample_bytes(rows); }));
}

}  // namespace

void bind_table(nb::module_& module) {
  nb::class_<ArrowTable>(module, "ArrowTable")
      .def("__arrow_c_stream__", &stream_of, nb::arg("requested_schema") = nb::none())
      .def_prop_ro("rows", [](const ArrowTable& held) { return held.table->num_rows(); });
  module.def("table_chunks", &table_chunks);
  module.def("table_read", &table_read, nb::arg("url"), nb::arg("bounds").none(), nb::arg("columns"), nb::arg("where"),
             nb::arg("rows_max") = -1);
  module.def("table_read_chunk", &table_read_chunk, nb::arg("url"), nb::arg("file_id").none(),
             nb::arg("chunk_id").none(), nb::arg("columns"));
  module.def("sample_bytes", &make_sample);
}

}  // namespace fused::native
