#include "ingest/read/geometry.hpp"

#include <arrow/array.h>
#include <arrow/buffer_builder.h>
#include <arrow/compute/cast.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "geo/wkb.hpp"
#include "ingest/read/ewkb.hpp"
#include "result/frame.hpp"

namespace fused::ingest {
namespace {

std::string at_row(const Source& source, std::int64_t row) { return source.name + ", row " + std::to_string(row); }

// Appends values to WKB and keeps the offsets.
class WkbBuilder {
 public:
  explicit WkbBuilder(std::int64_t rows) { offsets_.reserve(static_cast<std::size_t>(rows) + 1); }
  template <class T>
  void put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void header(std::uint32_t code) {
    put(std::uint8_t{1});
    put(code);
  }
  void end_row() { offsets_.push_back(static_cast<std::int32_t>(bytes_.size())); }
  std::size_t size() const { return bytes_.size(); }

  Result<std::shared_ptr<arrow::Array>> finish(std::shared_ptr<arrow::Buffer> valid) {
    const auto rows = static_cast<std::int64_t>(offsets_.size()) - 1;
    auto offsets = arrow::Buffer::FromVector(std::move(offsets_));
    return std::make_shared<arrow::BinaryArray>(rows, std::move(offsets), arrow::Buffer::FromString(std::move(bytes_)),
                                                std::move(valid));
  }

 private:
  std::string bytes_;
  std::vector<std::int32_t> offsets_{0};
};

Result<std::shared_ptr<arrow::Array>> points_of(const arrow::RecordBatch& batch, const Source& source) {
  std::shared_ptr<arrow::Array> columns[2];
  const std::string* names[2] = {&source.longitude, &source.latitude};
  for (int i = 0; i < 2; ++i) {
    const auto found = batch.GetColumnByName(*names[i]);
    columns[i] = FUSED_ARROW_TRY(source.name + ": column '" + *names[i] + "' as coordinates",
                                 arrow::compute::Cast(*found, arrow::float64()));
  }
  const auto& x = static_cast<const arrow::DoubleArray&>(*columns[0]);
  const auto& y = static_cast<const arrow::DoubleArray&>(*columns[1]);
  const std::int64_t rows = batch.num_rows();
  constexpr std::int64_t kPoint = 21;
  auto offsets = FUSED_ARROW_TRY("points", arrow::AllocateBuffer((rows + 1) * 4));
  auto bytes = FUSED_ARROW_TRY("points", arrow::AllocateBuffer(rows * kPoint));
  auto* offset = reinterpret_cast<std::int32_t*>(offsets->mutable_data());
  std::uint8_t* at = bytes->mutable_data();
  std::shared_ptr<arrow::Buffer> valid;
  if (x.null_count() + y.null_count() > 0) valid = FUSED_ARROW_TRY("points", arrow::AllocateEmptyBitmap(rows));
  offset[0] = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    const bool there = !valid || (x.IsValid(i) && y.IsValid(i));
    if (there) {
      const double xy[2] = {x.Value(i), y.Value(i)};
      constexpr std::uint8_t kHeader[5] = {1, 1, 0, 0, 0};
      std::memcpy(at, kHeader, 5);
      std::memcpy(at + 5, xy, 16);
      at += kPoint;
      if (valid) arrow::bit_util::SetBit(valid->mutable_data(), i);
    }
    offset[i + 1] = static_cast<std::int32_t>(at - bytes->mutable_data());
  }
  return std::make_shared<arrow::BinaryArray>(rows, std::move(offsets), std::move(bytes), std::move(valid));
}

// Coordinates of GeoArrow, separated (a struct of doubles) or interleaved (fixed-size lists).
class Coordinates {
 public:
  static Result<Coordinates> of(const arrow::Array& values) {
    Coordinates found;
    if (values.type_id() == arrow::Type::STRUCT) {
      const auto& parts = static_cast<const arrow::StructArray&>(values);
      for (int i = 0; i < parts.num_fields(); ++i) {
        const auto part = parts.field(i);  // sliced as the struct is
        if (part->type_id() != arrow::Type::DOUBLE) return refuse(values);
        found.held_.push_back(part);
        found.data_.push_back(static_cast<const arrow::DoubleArray&>(*part).raw_values());
        found.name(values.type()->field(i)->name());
      }
      found.stride_ = 1;
    } else if (values.type_id() == arrow::Type::FIXED_SIZE_LIST) {
      const auto& list = static_cast<const arrow::FixedSizeListArray&>(values);
      if (list.values()->type_id() != arrow::Type::DOUBLE) return refuse(values);
      const int size = list.list_type()->list_size();
      found.held_.push_back(list.values());
      const double* data = static_cast<const arrow::DoubleArray&>(*list.values()).raw_values() + list.offset() * size;
      for (int i = 0; i < size; ++i) found.data_.push_back(data + i);
      found.stride_ = size;
      const std::string names = list.list_type()->value_field()->name();
      found.code_ = size == 4 ? 3000 : size == 3 ? (names == "xym" ? 2000 : 1000) : 0;
    } else {
      return refuse(values);
    }
    if (found.data_.size() < 2 || found.data_.size() > 4) return refuse(values);
    return found;
  }
  void put(WkbBuilder& out, std::int64_t at) const {
    for (const double* data : data_) out.put(data[at * stride_]);
  }
  std::uint32_t code() const { return code_; }  // added to the geometry type: 1000 with Z, 2000 with M
  bool empty(std::int64_t at) const { return std::isnan(data_[0][at * stride_]) && std::isnan(data_[1][at * stride_]); }

 private:
  static std::unexpected<Error> refuse(const arrow::Array& values) {
    return fail(ErrorKind::unprocessable, "GeoArrow coordinates of type " + values.type()->ToString());
  }
  void name(const std::string& name) {
    if (name == "z") code_ += 1000;
    if (name == "m") code_ += 2000;
  }
  arrow::ArrayVector held_;
  std::vector<const double*> data_;
  std::int64_t stride_ = 1;
  std::uint32_t code_ = 0;
};

// Lists of lists … of coordinates, as WKB of one type.
class GeoArrow {
 public:
  static Result<GeoArrow> of(const std::shared_ptr<arrow::Array>& values, const std::string& type) {
    static const std::map<std::string, std::pair<std::uint32_t, int>> kTypes = {
        {"point", {1, 0}},      {"linestring", {2, 1}},      {"polygon", {3, 2}},
        {"multipoint", {4, 1}}, {"multilinestring", {5, 2}}, {"multipolygon", {6, 3}}};
    const auto found = kTypes.find(type);
    if (found == kTypes.end()) return fail(ErrorKind::unprocessable, "GeoArrow encoding '" + type + "' cannot be read");
    GeoArrow all;
    all.type_ = found->second.first;
    std::shared_ptr<arrow::Array> inner = values;
    for (int level = 0; level < found->second.second; ++level) {
      if (inner->type_id() == arrow::Type::LARGE_LIST)
        inner = FUSED_ARROW_TRY("geometry", arrow::compute::Cast(*inner, arrow::list(inner->type()->field(0))));
      if (inner->type_id() != arrow::Type::LIST)
        return fail(ErrorKind::unprocessable, "GeoArrow '" + type + "' of type " + values->type()->ToString());
      all.lists_.push_back(inner);
      inner = static_cast<const arrow::ListArray&>(*inner).values();
    }
    all.coordinates_ = FUSED_TRY(Coordinates::of(*inner));
    return all;
  }
  void put(WkbBuilder& out, std::int64_t row) const { geometry(out, type_, 0, row); }

 private:
  std::pair<std::int64_t, std::int64_t> range(std::size_t level, std::int64_t at) const {
    const auto& list = static_cast<const arrow::ListArray&>(*lists_[level]);
    return {list.value_offset(at), list.value_offset(at + 1)};
  }
  void line(WkbBuilder& out, std::size_t level, std::int64_t at) const {
    const auto [from, to] = range(level, at);
    out.put(static_cast<std::uint32_t>(to - from));
    for (std::int64_t i = from; i < to; ++i) coordinates_->put(out, i);
  }
  void geometry(WkbBuilder& out, std::uint32_t type, std::size_t level, std::int64_t at) const {
    out.header(type + coordinates_->code());
    if (type == 1) return coordinates_->put(out, at);
    if (type == 2) return line(out, level, at);
    const auto [from, to] = range(level, at);
    out.put(static_cast<std::uint32_t>(to - from));
    for (std::int64_t i = from; i < to; ++i) {
      if (type == 3)
        line(out, level + 1, i);
      else
        geometry(out, type - 3, level + 1, i);
    }
  }

  std::uint32_t type_ = 1;
  arrow::ArrayVector lists_;
  std::optional<Coordinates> coordinates_;
};

Result<std::shared_ptr<arrow::Array>> from_geoarrow(const std::shared_ptr<arrow::Array>& values, const Source& source,
                                                    std::int64_t first_row) {
  auto made = GeoArrow::of(values, source.geoarrow_type);
  if (!made) return std::unexpected(made.error().within(source.name + ": column '" + source.geometry + "'"));
  WkbBuilder out(values->length());
  std::shared_ptr<arrow::Buffer> valid;
  if (values->null_count() > 0) valid = FUSED_ARROW_TRY("geometry", arrow::AllocateEmptyBitmap(values->length()));
  for (std::int64_t i = 0; i < values->length(); ++i) {
    if (values->IsValid(i)) {
      made->put(out, i);
      if (valid) arrow::bit_util::SetBit(valid->mutable_data(), i);
    }
    if (out.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
      return fail(ErrorKind::too_large, at_row(source, first_row + i) + ": more than 2 GiB of geometry in a batch");
    out.end_row();
  }
  return out.finish(std::move(valid));
}

}  // namespace

Result<std::shared_ptr<arrow::Array>> wkb_column(const arrow::RecordBatch& batch, const Source& source,
                                                 std::int64_t first_row) {
  if (source.encoding == Encoding::lonlat) return points_of(batch, source);
  auto values = batch.GetColumnByName(source.geometry);
  if (!values) return fail(ErrorKind::internal, source.name + ": the geometry column is missing in a batch");
  if (source.encoding == Encoding::geoarrow) return from_geoarrow(values, source, first_row);
  if (values->type_id() == arrow::Type::BINARY) return iso_wkb(values, source, first_row);
  auto cast = arrow::compute::Cast(*values, arrow::binary());
  if (cast.ok()) return iso_wkb(*cast, source, first_row);
  return fail(ErrorKind::unprocessable, source.name + ": the geometry column '" + source.geometry + "' has type " +
                                            values->type()->ToString() + ", not WKB");
}

namespace {

// Where the positions of all rows lie, so that they can be handed over as two arrays and put back.
class Collect : public GeometrySink {
 public:
  std::vector<double> x, y;
  struct Run {
    std::byte* at;
    std::uint32_t count;
    int dimensions;
    bool swapped;
  };
  std::vector<Run> runs;

  void begin(const GeometryHeader&) override {}
  void positions(const Positions& positions) override {
    runs.push_back(
        {const_cast<std::byte*>(positions.bytes()), positions.count(), positions.dimensions(), positions.swapped()});
    for (std::uint32_t i = 0; i < positions.count(); ++i) {
      x.push_back(positions.x(i));
      y.push_back(positions.y(i));
    }
  }
  void end(const GeometryHeader&) override {}
};

void put_double(std::byte* at, double value, bool swapped) {
  auto bits = std::bit_cast<std::uint64_t>(value);
  if (swapped) bits = __builtin_bswap64(bits);
  std::memcpy(at, &bits, 8);
}

}  // namespace

Result<std::shared_ptr<arrow::Array>> transformed(const std::shared_ptr<arrow::Array>& wkb,
                                                  const Transform& transform) {
  const auto& values = static_cast<const arrow::BinaryArray&>(*wkb);
  const std::int64_t from = values.value_offset(0), bytes = values.total_values_length();
  std::shared_ptr<arrow::Buffer> copy = FUSED_ARROW_TRY("geometry", arrow::AllocateBuffer(bytes));
  if (bytes > 0) std::memcpy(copy->mutable_data(), values.raw_data() + from, static_cast<std::size_t>(bytes));
  Collect found;
  for (std::int64_t i = 0; i < values.length(); ++i) {
    if (values.IsNull(i)) continue;
    const auto* at = reinterpret_cast<const std::byte*>(copy->data() + values.value_offset(i) - from);
    // Broken WKB is named, with its row, when it is measured.
    const std::size_t known = found.x.size(), runs = found.runs.size();
    if (!scan_wkb({at, static_cast<std::size_t>(values.value_length(i))}, found)) {
      found.x.resize(known);
      found.y.resize(known);
      found.runs.resize(runs);
    }
  }
  FUSED_CHECK(transform(found.x, found.y));
  std::size_t next = 0;
  for (const Collect::Run& run : found.runs)
    for (std::uint32_t i = 0; i < run.count; ++i, ++next) {
      std::byte* at = run.at + std::size_t{i} * static_cast<std::size_t>(run.dimensions) * 8;
      put_double(at, found.x[next], run.swapped);
      put_double(at + 8, found.y[next], run.swapped);
    }
  auto offsets = FUSED_ARROW_TRY("geometry", arrow::AllocateBuffer((values.length() + 1) * 4));
  auto* offset = reinterpret_cast<std::int32_t*>(offsets->mutable_data());
  for (std::int64_t i = 0; i <= values.length(); ++i)
    offset[i] = static_cast<std::int32_t>(values.value_offset(i) - from);
  std::shared_ptr<arrow::Buffer> valid;
  if (values.null_count() > 0) {
    valid = FUSED_ARROW_TRY("geometry", arrow::AllocateEmptyBitmap(values.length()));
    for (std::int64_t i = 0; i < values.length(); ++i)
      if (values.IsValid(i)) arrow::bit_util::SetBit(valid->mutable_data(), i);
  }
  return std::make_shared<arrow::BinaryArray>(values.length(), std::move(offsets), std::move(copy), std::move(valid));
}

}  // namespace fused::ingest
