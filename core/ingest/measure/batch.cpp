#include "ingest/measure/batch.hpp"

#include <arrow/array.h>
#include <arrow/builder.h>

#include "geo/measure.hpp"
#include "ingest/measure/reshape.hpp"
#include "ingest/read/geometry.hpp"
#include "result/frame.hpp"

namespace fused::ingest {
namespace {

constexpr std::uint32_t kBlockBytes = 32 << 20;  // a batch with more is halved

Result<Measures> measured(std::string_view wkb, const Source& source, std::int64_t row) {
  const auto measures = measure_wkb({reinterpret_cast<const std::byte*>(wkb.data()), wkb.size()});
  if (!measures) return std::unexpected(measures.error().within(source.name + ", row " + std::to_string(row)));
  if (!measures->finite)
    return fail(ErrorKind::unprocessable, source.name + ", row " + std::to_string(row) +
                                              ": the geometry has a coordinate that is NaN or infinite");
  return *measures;
}

bool wholly_outside(const Box& box) { return box.minx > 180 || box.maxx < -180 || box.miny > 90 || box.maxy < -90; }
bool partly_outside(const Box& box) { return box.minx < -180 || box.maxx > 180 || box.miny < -90 || box.maxy > 90; }

}  // namespace

Status BatchTaker::take(const arrow::RecordBatch& batch, const Source& source, std::int64_t first_row, Order order) {
  auto table = FUSED_TRY(to_table(batch, source, table_, first_row));
  counts_.read += table->num_rows();
  const int g = table_.geometry;
  const auto with_geometry = [&](std::shared_ptr<arrow::Array> wkb) -> Status {
    table = FUSED_ARROW_TRY("geometry", table->SetColumn(g, table_.schema->field(g), std::move(wkb)));
    return {};
  };
  if (source.transform) {
    auto moved = transformed(table->column(g), source.transform);
    if (!moved) return std::unexpected(moved.error().within(source.name));
    FUSED_CHECK(with_geometry(*moved));
  }
  if (table_.original_row >= 0) {
    arrow::Int64Builder numbers;
    for (std::int64_t i = 0; i < table->num_rows(); ++i) FUSED_ARROW_CHECK("rows", numbers.Append(first_row + i));
    table = FUSED_ARROW_TRY("rows", table->SetColumn(table_.original_row, table_.schema->field(table_.original_row),
                                                     FUSED_ARROW_TRY("rows", numbers.Finish())));
  }
  if (options_.explode)
    table =
        FUSED_TRY(reshaped(table, g, [&](std::int64_t row, std::string_view wkb) -> Result<std::vector<std::string>> {
          auto parts = parts_of(wkb);
          if (!parts)
            return std::unexpected(parts.error().within(source.name + ", row " + std::to_string(first_row + row)));
          if (parts->size() == 1 && (*parts)[0] == wkb) parts->clear();
          return parts;
        }));
  if (options_.subdivide_start)
    table =
        FUSED_TRY(reshaped(table, g, [&](std::int64_t row, std::string_view wkb) -> Result<std::vector<std::string>> {
          if (FUSED_TRY(measured(wkb, source, first_row + row)).area <= *options_.subdivide_start)
            return std::vector<std::string>{};
          ++counts_.subdivided;
          return subdivide_(wkb);
        }));
  return take_table(std::move(table), source, first_row, order);
}

Status BatchTaker::take_table(std::shared_ptr<arrow::RecordBatch> batch, const Source& source, std::int64_t first_row,
                              Order& order) {
  const auto& wkb = static_cast<const arrow::BinaryArray&>(*batch->column(table_.geometry));
  const Weight weight = options_.partition.weight;
  const auto rows = static_cast<std::size_t>(batch->num_rows());
  std::vector<Place> places;
  std::vector<std::uint32_t> loads;
  places.reserve(rows);
  std::vector<std::uint8_t> keep;
  std::int64_t dropped = 0, partly = 0, without = 0;
  for (std::int64_t row = 0; row < batch->num_rows(); ++row) {
    Measures m;
    if (wkb.IsValid(row)) m = FUSED_TRY(measured(wkb.GetView(row), source, first_row + row));
    if (!m.empty && partly_outside(m.box)) {
      if (options_.drop_out_of_bounds && wholly_outside(m.box)) {
        if (keep.empty()) keep.assign(rows, 1);
        keep[static_cast<std::size_t>(row)] = 0;
        ++dropped;
        continue;
      }
      ++partly;
    }
    without += m.empty;
    places.push_back(m.empty ? Place{} : Place{steps_x(m.cx), steps_y(m.cy)});
    if (weight != Weight::rows) loads.push_back(load_of(weight, m.area, m.length, m.coords));
  }
  counts_.out_of_bounds += dropped;
  counts_.partly_outside += partly;
  counts_.without_geometry += without;
  if (dropped > 0) batch = FUSED_TRY(filtered(batch, keep));
  if (batch->num_rows() == 0) return {};
  return store(batch, places, loads, order);
}

Status BatchTaker::store(const std::shared_ptr<arrow::RecordBatch>& batch, std::span<const Place> places,
                         std::span<const std::uint32_t> loads, Order& order) {
  Block block;
  const Status sized = format_.offsets(*batch, block.offsets);
  const std::int64_t rows = batch->num_rows();
  if (rows > 1 && (!sized || block.offsets.back() > kBlockBytes)) {
    const std::int64_t half = rows / 2;
    const auto first = static_cast<std::size_t>(half);
    FUSED_CHECK(store(batch->Slice(0, half), places.first(first), loads.empty() ? loads : loads.first(first), order));
    return store(batch->Slice(half), places.subspan(first), loads.empty() ? loads : loads.subspan(first), order);
  }
  FUSED_CHECK(sized);
  block.order = order;
  ++order.piece;
  block.rows = static_cast<std::uint32_t>(rows);
  block.packed_bytes = block.offsets.back();
  block.places.assign(places.begin(), places.end());
  block.loads.assign(loads.begin(), loads.end());
  if (!options_.dry_run) {
    block.bytes = Pages::allocate(block.packed_bytes);
    format_.pack(*batch, block.offsets, block.bytes.data());
  }
  return store_.add(std::move(block));
}

}  // namespace fused::ingest
