// Python face of the ingest room: one object an ingest, its stages as methods. All of them let other threads run.
#include <arrow/c/bridge.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "ingest/ingest.hpp"
#include "ingest/memory.hpp"
#include "ingest/write/metadata_table.hpp"
#include "ingest/write/publish.hpp"
#include "native/bytes.hpp"

namespace nb = nanobind;

namespace fused::native {
namespace {

using namespace fused::ingest;

// A Python object that C++ threads call and let go of.
class Held {
 public:
  explicit Held(nb::object object) : object_(std::make_shared<nb::object>(std::move(object))) {}
  ~Held() {
    if (object_.use_count() != 1) return;
    nb::gil_scoped_acquire gil;
    object_.reset();
  }
  Held(const Held&) = default;
  const nb::object& get() const { return *object_; }

 private:
  std::shared_ptr<nb::object> object_;
};

Error error_of(const nb::python_error& raised) {
  return {ErrorKind::unprocessable, nb::str(raised.value()).c_str(), ""};
}

Transform transform_of(nb::object callable) {
  return [held = Held(std::move(callable))](std::span<double> x, std::span<double> y) -> Status {
    nb::gil_scoped_acquire gil;
    try {
      const auto view = [](std::span<double> values) {
        return nb::steal<nb::object>(PyMemoryView_FromMemory(
            reinterpret_cast<char*>(values.data()), static_cast<Py_ssize_t>(values.size_bytes()), PyBUF_WRITE));
      };
      held.get()(view(x), view(y));
      return {};
    } catch (const nb::python_error& raised) {
      return std::unexpected(error_of(raised));
    }
  };
}

Subdivide subdivide_of(nb::object callable) {
  return [held = Held(std::move(callable))](std::string_view wkb) -> Result<std::vector<std::string>> {
    nb::gil_scoped_acquire gil;
    try {
      std::vector<std::string> parts;
      for (nb::handle part : held.get()(nb::bytes(wkb.data(), wkb.size()))) {
        const auto bytes = nb::cast<nb::bytes>(part);
        parts.emplace_back(bytes.c_str(), bytes.size());
      }
      return parts;
    } catch (const nb::python_error& raised) {
      return std::unexpected(error_of(raised));
    }
  };
}

std::shared_ptr<arrow::Schema> schema_of(nb::handle object) {
  if (object.is_none()) return nullptr;
  nb::object capsule = object.attr("__arrow_c_schema__")();
  auto* schema = static_cast<ArrowSchema*>(PyCapsule_GetPointer(capsule.ptr(), "arrow_schema"));
  if (schema == nullptr) throw nb::python_error();
  auto imported = arrow::ImportSchema(schema);
  if (!imported.ok()) throw_error({ErrorKind::invalid_argument, "schema: " + imported.status().message(), ""});
  return *imported;
}

std::shared_ptr<arrow::RecordBatchReader> stream_of(nb::handle object) {
  nb::object capsule = object.attr("__arrow_c_stream__")();
  auto* stream = static_cast<ArrowArrayStream*>(PyCapsule_GetPointer(capsule.ptr(), "arrow_array_stream"));
  if (stream == nullptr) throw nb::python_error();
  auto imported = arrow::ImportRecordBatchReader(stream);
  if (!imported.ok()) throw_error({ErrorKind::unprocessable, imported.status().message(), ""});
  return *imported;
}

template <class Call>
auto released(const Call& call) {
  auto outcome = [&] {
    nb::gil_scoped_release release;
    return call();
  }();
  return value_or_throw(std::move(outcome));
}
void checked(const auto& call) {
  released([&]() -> Result<bool> {
    FUSED_CHECK(call());
    return true;
  });
}

class PyIngest {
 public:
  explicit PyIngest(const std::string& options)
      : options_(value_or_throw(parse_options(options))), ingest_(std::make_unique<Ingest>(options_)) {}

  // What the file says: (rows or -1, CRS, does it say one, needs projecting).
  nb::tuple add_file(const std::string& path, const std::string& kind, const std::vector<std::string>& lonlat,
                     const std::string& geometry, const std::string& delimiter) {
    const SourceKind source_kind = kind == "parquet" ? SourceKind::parquet
                                   : kind == "csv"   ? SourceKind::csv
                                                     : SourceKind::ipc;
    Source source = released([&] { return inspect_file(path, source_kind, lonlat, geometry, delimiter.at(0)); });
    return added(std::move(source));
  }
  // A stream's schema. `keep`: it is held, and read_stream takes it; else a stream opened anew is to be given there.
  nb::tuple add_stream(const std::string& name, nb::handle stream, const std::string& geometry, const std::string& crs,
                       const std::vector<std::string>& lonlat, bool keep) {
    Source source;
    source.kind = SourceKind::stream;
    source.name = source.path = name;
    auto reader = stream_of(stream);
    source.schema = reader->schema();
    if (auto found = find_geometry(source, lonlat, geometry); !found) throw_error(found.error().within(name));
    if (!crs.empty()) {
      source.crs = crs;
      source.has_crs = true;
    }
    if (keep) kept_ = std::move(reader);
    return added(std::move(source));
  }
  void set_transform(std::size_t source, nb::object callable) {
    ingest_->sources().at(source).transform = transform_of(std::move(callable));
  }
  void set_rows(std::size_t source, std::int64_t rows) { ingest_->sources().at(source).rows = rows; }
  void set_subdivide(nb::object callable) { ingest_->set_subdivide(subdivide_of(std::move(callable))); }
  void begin(nb::object schema) {
    const auto wanted = schema_of(schema);
    checked([&] { return ingest_->begin(wanted); });
  }
  void read_files() {
    checked([&] { return ingest_->read_files(); });
  }
  void read_stream(std::size_t source, nb::handle stream) {
    const auto reader = stream.is_none() ? std::exchange(kept_, nullptr) : stream_of(stream);
    checked([&] { return ingest_->read_stream(*reader, source); });
  }
  void finish_reading() {
    checked([&] { return ingest_->finish_reading(); });
  }
  void partition() {
    checked([&] { return ingest_->partition(); });
  }
  // `target` is a folder that exists, or an s3:// URL.
  void write(const std::string& target) {
    checked([&]() -> Status {
      if (target.find("://") == std::string::npos)
        target_ = folder_target(target);
      else
        target_ = FUSED_TRY(object_target(target));
      return ingest_->write(*target_);
    });
  }
  void write_sample() {
    checked([&] { return ingest_->write_sample(*target_); });
  }
  nb::bytes metadata_table() const {
    const std::string bytes = released([&] { return ingest::metadata_table(ingest_->written().chunks); });
    return nb::bytes(bytes.data(), bytes.size());
  }
  // (stage, rows done, rows in all or -1)
  nb::tuple progress() {
    Progress& progress = ingest_->progress();
    return nb::make_tuple(kStageNames[progress.stage.load()], progress.rows.load(), progress.rows_total.load());
  }
  void stop() { ingest_->progress().stop = true; }
  std::string summary() const { return ingest_->summary_json(); }
  // (minx, miny, maxx, maxy, rows, file) of each chunk that was written, or would be.
  nb::list chunks() const {
    nb::list all;
    for (const ChunkRow& chunk : ingest_->chunks())
      all.append(nb::make_tuple(chunk.box.minx, chunk.box.miny, chunk.box.maxx, chunk.box.maxy, chunk.num_rows,
                                chunk.file_id));
    return all;
  }

 private:
  nb::tuple added(Source source) {
    const bool lonlat = source.crs.empty() || is_lonlat_wgs84(source.crs);
    nb::tuple said = nb::make_tuple(source.rows, source.crs, source.has_crs, !lonlat);
    ingest_->add_source(std::move(source));
    return said;
  }

  Options options_;
  std::unique_ptr<Ingest> ingest_;
  std::unique_ptr<Target> target_;
  std::shared_ptr<arrow::RecordBatchReader> kept_;
};

}  // namespace

void bind_ingest(nb::module_& module) {
  nb::class_<PyIngest>(module, "Ingest")
      .def(nb::init<const std::string&>())
      .def("add_file", &PyIngest::add_file)
      .def("add_stream", &PyIngest::add_stream)
      .def("set_transform", &PyIngest::set_transform)
      .def("set_rows", &PyIngest::set_rows)
      .def("set_subdivide", &PyIngest::set_subdivide)
      .def("begin", &PyIngest::begin, nb::arg("schema").none())
      .def("read_files", &PyIngest::read_files)
      .def("read_stream", &PyIngest::read_stream, nb::arg("source"), nb::arg("stream").none())
      .def("finish_reading", &PyIngest::finish_reading)
      .def("partition", &PyIngest::partition)
      .def("write", &PyIngest::write)
      .def("write_sample", &PyIngest::write_sample)
      .def("metadata_table", &PyIngest::metadata_table)
      .def("progress", &PyIngest::progress)
      .def("stop", &PyIngest::stop)
      .def("summary", &PyIngest::summary)
      .def("chunks", &PyIngest::chunks);
  module.def("publish_folder", [](const std::string& made, const std::string& output) {
    return released([&] { return publish_folder(made, output); });
  });
  module.def("process_memory", &process_memory);
}

}  // namespace fused::native
