#include "ingest/write/chunk_columns.hpp"

#include <arrow/array.h>
#include <arrow/util/bit_util.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "geo/measure.hpp"
#include "result/frame.hpp"

namespace fused::ingest {
namespace {

constexpr std::uint64_t kSliceBytes = 256 << 20;  // columns of 32-bit offsets end at 2 GiB

// The float next to a double that is not above (below) it, by arithmetic on the bits: which of the two is needed is a
// coin toss, and a branch on it would be mispredicted half the time.
template <bool up>
float enclosing(double value) {
  const auto nearest = static_cast<float>(value);
  const bool beyond = up ? nearest < value : nearest > value;
  if (nearest == 0) [[unlikely]]
    return beyond ? (up ? 1 : -1) * std::numeric_limits<float>::denorm_min() : nearest;
  const auto bits = std::bit_cast<std::int32_t>(nearest);
  return std::bit_cast<float>(bits + (beyond ? ((bits < 0) != up ? 1 : -1) : 0));
}

class Covering {
 public:
  static Result<Covering> make(std::int64_t rows, bool nullable) {
    Covering covering;
    covering.rows_ = rows;
    for (int edge = 0; edge < 4; ++edge)
      covering.edges_[edge] = FUSED_ARROW_TRY("covering", arrow::AllocateBuffer(rows * 4));
    if (nullable) covering.valid_ = FUSED_ARROW_TRY("covering", arrow::AllocateEmptyBitmap(rows));
    return covering;
  }
  void set(std::int64_t row, const Box& box) {
    put(0, row, enclosing<false>(box.minx));
    put(1, row, enclosing<false>(box.miny));
    put(2, row, enclosing<true>(box.maxx));
    put(3, row, enclosing<true>(box.maxy));
    if (valid_) arrow::bit_util::SetBit(valid_->mutable_data(), row);
    ++set_;
  }
  void skip(std::int64_t row) {
    for (int edge = 0; edge < 4; ++edge) put(edge, row, 0);
  }
  std::shared_ptr<arrow::Array> finish(const std::shared_ptr<arrow::DataType>& type) {
    std::vector<std::shared_ptr<arrow::ArrayData>> children;
    const std::int64_t nulls = rows_ - set_;
    for (auto& edge : edges_)
      children.push_back(arrow::ArrayData::Make(arrow::float32(), rows_, {valid_, std::move(edge)}, nulls));
    return arrow::MakeArray(arrow::ArrayData::Make(type, rows_, {valid_}, std::move(children), nulls));
  }

 private:
  void put(int edge, std::int64_t row, float value) {
    reinterpret_cast<float*>(edges_[edge]->mutable_data())[row] = value;
  }
  std::int64_t rows_ = 0, set_ = 0;
  std::shared_ptr<arrow::Buffer> edges_[4];
  std::shared_ptr<arrow::Buffer> valid_;
};

struct Summary {
  ChunkRow row;
  bool seen[4][8] = {};
  bool empty = true;
};

Status summarise(const arrow::BinaryArray& wkb, Covering* covering, Summary& summary) {
  ChunkRow& all = summary.row;
  for (std::int64_t i = 0; i < wkb.length(); ++i) {
    Measures m;
    if (wkb.IsValid(i)) {
      const std::string_view bytes = wkb.GetView(i);
      m = FUSED_TRY(measure_wkb({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}));
      summary.seen[m.has_z + 2 * m.has_m][static_cast<int>(m.type)] = true;
    }
    all.num_coords += static_cast<std::int64_t>(m.coords);
    if (m.empty) {
      if (covering != nullptr) covering->skip(i);
      continue;
    }
    if (covering != nullptr) covering->set(i, m.box);
    all.sum_area += m.area;
    all.sum_length += m.length;
    if (summary.empty) all.box = m.box;
    summary.empty = false;
    all.box = {std::min(all.box.minx, m.box.minx), std::min(all.box.miny, m.box.miny),
               std::max(all.box.maxx, m.box.maxx), std::max(all.box.maxy, m.box.maxy)};
  }
  all.num_rows += wkb.length();
  return {};
}

}  // namespace

FileShape file_shape(const TableColumns& table, bool covering, bool has_empty) {
  FileShape shape;
  shape.schema = table.schema;
  if (!covering) return shape;
  shape.covering = "bbox";
  while (table.schema->GetFieldIndex(shape.covering) >= 0) shape.covering += "_";
  arrow::FieldVector edges;
  for (const char* edge : kCoveringEdges) edges.push_back(arrow::field(edge, arrow::float32(), has_empty));
  arrow::FieldVector fields = table.schema->fields();
  fields.push_back(arrow::field(shape.covering, arrow::struct_(edges), has_empty));
  shape.schema = arrow::schema(fields);
  return shape;
}

Result<MadeChunk> make_chunk(std::span<const std::uint8_t* const> rows, std::span<const std::uint32_t> row_bytes,
                             const RowFormat& format, const TableColumns& table, const FileShape& shape,
                             bool has_empty) {
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  Summary summary;
  for (std::size_t from = 0; from < rows.size();) {
    std::size_t to = from;
    for (std::uint64_t bytes = 0; to < rows.size() && (to == from || bytes + row_bytes[to] <= kSliceBytes); ++to)
      bytes += row_bytes[to];
    auto batch = FUSED_TRY(format.unpack(rows.subspan(from, to - from)));
    const auto geometry = batch->column(table.geometry);
    const auto& wkb = static_cast<const arrow::BinaryArray&>(*geometry);
    if (shape.covering.empty()) {
      FUSED_CHECK(summarise(wkb, nullptr, summary));
    } else {
      Covering covering = FUSED_TRY(Covering::make(batch->num_rows(), has_empty));
      FUSED_CHECK(summarise(wkb, &covering, summary));
      arrow::ArrayVector columns = batch->columns();
      columns.push_back(covering.finish(shape.schema->fields().back()->type()));
      batch = arrow::RecordBatch::Make(shape.schema, batch->num_rows(), std::move(columns));
    }
    batches.push_back(std::move(batch));
    from = to;
  }
  MadeChunk chunk;
  chunk.table = FUSED_ARROW_TRY("chunk", arrow::Table::FromRecordBatches(shape.schema, batches));
  chunk.summary = summary.row;
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  if (summary.empty) chunk.summary.box = {kNan, kNan, kNan, kNan};
  constexpr const char* kDimensions[] = {"", " Z", " M", " ZM"};
  for (int d = 0; d < 4; ++d)
    for (int type = 1; type < 8; ++type)
      if (summary.seen[d][type])
        chunk.types.insert(std::string(geometry_type_name(static_cast<GeometryType>(type))) + kDimensions[d]);
  return chunk;
}

}  // namespace fused::ingest
