#include "ingest/measure/reshape.hpp"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/compute/api_vector.h>

#include <cstring>

#include "geo/wkb.hpp"
#include "result/frame.hpp"

namespace fused::ingest {
namespace {

// Where the members that are no collections begin and end. A scan tells of their types only, so the bytes are walked
// here; scan_wkb has found them whole before.
class PartWalker {
 public:
  PartWalker(std::string_view wkb, std::vector<std::string>& parts) : wkb_(wkb), parts_(parts) {}

  void geometry() {
    const std::size_t begin = at_;
    const bool swapped = wkb_[at_++] == 0;
    std::uint32_t code = u32(swapped);
    const bool srid = code & 0x20000000;
    int dimensions = 2 + ((code & 0x80000000) != 0) + ((code & 0x40000000) != 0);
    code &= 0x0FFFFFFF;
    const std::uint32_t thousands = code / 1000;
    dimensions += thousands == 3 ? 2 : thousands != 0;
    if (srid) at_ += 4;
    const auto position = static_cast<std::size_t>(dimensions) * 8;
    switch (code % 1000) {
      case 1: at_ += position; break;
      case 2: skip_line(swapped, position); break;
      case 3:
        for (std::uint32_t rings = u32(swapped); rings > 0; --rings) skip_line(swapped, position);
        break;
      default:
        for (std::uint32_t members = u32(swapped); members > 0; --members) geometry();
        return;
    }
    parts_.emplace_back(wkb_.substr(begin, at_ - begin));
  }

 private:
  std::uint32_t u32(bool swapped) {
    std::uint32_t value;
    std::memcpy(&value, wkb_.data() + at_, 4);
    at_ += 4;
    return swapped ? __builtin_bswap32(value) : value;
  }
  void skip_line(bool swapped, std::size_t position) {
    const std::uint32_t count = u32(swapped);
    at_ += count * position;
  }

  std::string_view wkb_;
  std::size_t at_ = 0;
  std::vector<std::string>& parts_;
};

class Nothing : public GeometrySink {
  void begin(const GeometryHeader&) override {}
  void positions(const Positions&) override {}
  void end(const GeometryHeader&) override {}
};

}  // namespace

Result<std::vector<std::string>> parts_of(std::string_view wkb) {
  Nothing nothing;
  FUSED_CHECK(scan_wkb({reinterpret_cast<const std::byte*>(wkb.data()), wkb.size()}, nothing));
  std::vector<std::string> parts;
  PartWalker(wkb, parts).geometry();
  if (parts.empty()) parts.emplace_back(wkb);
  return parts;
}

Result<std::shared_ptr<arrow::RecordBatch>> reshaped(const std::shared_ptr<arrow::RecordBatch>& batch, int geometry,
                                                     const Pieces& pieces) {
  const auto& wkb = static_cast<const arrow::BinaryArray&>(*batch->column(geometry));
  arrow::Int64Builder rows;
  arrow::BinaryBuilder made;
  bool changed = false;
  for (std::int64_t row = 0; row < batch->num_rows(); ++row) {
    if (wkb.IsNull(row)) {
      FUSED_ARROW_CHECK("geometry", rows.Append(row));
      FUSED_ARROW_CHECK("geometry", made.AppendNull());
      continue;
    }
    const auto parts = FUSED_TRY(pieces(row, wkb.GetView(row)));
    changed |= !parts.empty();
    for (const std::string& part : parts) {
      FUSED_ARROW_CHECK("geometry", rows.Append(row));
      FUSED_ARROW_CHECK("geometry", made.Append(part));
    }
    if (!parts.empty()) continue;
    FUSED_ARROW_CHECK("geometry", rows.Append(row));
    FUSED_ARROW_CHECK("geometry", made.Append(wkb.GetView(row)));
  }
  if (!changed) return batch;
  const auto indices = FUSED_ARROW_TRY("rows", rows.Finish());
  arrow::ArrayVector columns;
  for (int i = 0; i < batch->num_columns(); ++i)
    columns.push_back(i == geometry ? FUSED_ARROW_TRY("geometry", made.Finish())
                                    : FUSED_ARROW_TRY("rows", arrow::compute::Take(*batch->column(i), *indices)));
  return arrow::RecordBatch::Make(batch->schema(), indices->length(), std::move(columns));
}

Result<std::shared_ptr<arrow::RecordBatch>> filtered(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                     const std::vector<std::uint8_t>& keep) {
  arrow::Int64Builder rows;
  for (std::size_t i = 0; i < keep.size(); ++i)
    if (keep[i] != 0) FUSED_ARROW_CHECK("rows", rows.Append(static_cast<std::int64_t>(i)));
  const auto indices = FUSED_ARROW_TRY("rows", rows.Finish());
  arrow::ArrayVector columns;
  for (const auto& column : batch->columns())
    columns.push_back(FUSED_ARROW_TRY("rows", arrow::compute::Take(*column, *indices)));
  return arrow::RecordBatch::Make(batch->schema(), indices->length(), std::move(columns));
}

}  // namespace fused::ingest
