#include "ingest/partition/boxes.hpp"

#include <arrow/array.h>
#include <arrow/compute/cast.h>
#include <arrow/table.h>
#include <parquet/arrow/reader.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "ingest/read/files.hpp"
#include "result/frame.hpp"
#include "table/parquet_call.hpp"

namespace fused::ingest {
namespace {

constexpr std::int64_t kBoxesMax = 5'000'000;
constexpr std::uint32_t kBoxesPerFile = 10;

Result<std::shared_ptr<arrow::Table>> read_table(const std::string& path) {
  const auto file = FUSED_TRY(open_file(path));
  return parquet_call("it is not a Parquet file that can be read", [&]() -> Result<std::shared_ptr<arrow::Table>> {
    auto reader = FUSED_ARROW_TRY("boxes", parquet::arrow::FileReader::Make(arrow::default_memory_pool(),
                                                                            parquet::ParquetFileReader::Open(file)));
    if (reader->parquet_reader()->metadata()->num_rows() > kBoxesMax)
      return fail(ErrorKind::too_large, "it has more than " + std::to_string(kBoxesMax) + " boxes");
    return FUSED_ARROW_TRY("boxes", FUSED_ARROW_TRY("boxes", reader->ReadTable())->CombineChunks());
  });
}

Result<std::shared_ptr<arrow::Array>> column(const arrow::Table& table, const char* name,
                                             const std::shared_ptr<arrow::DataType>& type) {
  const auto found = table.GetColumnByName(name);
  if (!found || found->num_chunks() == 0) return nullptr;
  return FUSED_ARROW_TRY(std::string("column '") + name + "'", arrow::compute::Cast(*found->chunk(0), type));
}

Result<BoxIndex> boxes_of(const arrow::Table& table) {
  constexpr const char* kEdges[] = {"bbox_minx", "bbox_miny", "bbox_maxx", "bbox_maxy"};
  std::shared_ptr<arrow::Array> edges[4];
  for (int i = 0; i < 4; ++i) {
    edges[i] = FUSED_TRY(column(table, kEdges[i], arrow::float64()));
    if (!edges[i])
      return fail(ErrorKind::invalid_argument, std::string("it has no column '") + kEdges[i] + "', or no rows");
  }
  const auto files = FUSED_TRY(column(table, "file_id", arrow::utf8()));
  std::map<std::string, std::uint32_t, std::less<>> numbers;
  std::vector<std::pair<std::uint32_t, BoxIndex::Chosen>> found;
  for (std::int64_t i = 0; i < table.num_rows(); ++i) {
    double edge[4];
    for (int e = 0; e < 4; ++e)
      edge[e] = edges[e]->IsNull(i) ? NAN : static_cast<const arrow::DoubleArray&>(*edges[e]).Value(i);
    if (std::isnan(edge[0])) continue;  // the chunk of rows without geometry
    if (!(edge[0] <= edge[2] && edge[1] <= edge[3]))
      return fail(ErrorKind::invalid_argument, "row " + std::to_string(i) + " is not a box");
    std::uint32_t file = static_cast<std::uint32_t>(found.size()) / kBoxesPerFile;
    if (files && files->IsValid(i))
      file = numbers
                 .try_emplace(std::string(static_cast<const arrow::StringArray&>(*files).GetView(i)),
                              static_cast<std::uint32_t>(numbers.size()))
                 .first->second;
    found.emplace_back(file, BoxIndex::Chosen{edge[0], edge[1], edge[2], edge[3], file});
  }
  if (found.empty()) return fail(ErrorKind::invalid_argument, "it has no boxes");
  std::ranges::stable_sort(found, {}, [](const auto& each) { return each.first; });  // a file's boxes stand together
  std::vector<BoxIndex::Chosen> boxes;
  for (const auto& each : found) boxes.push_back(each.second);
  return BoxIndex(std::move(boxes));
}

}  // namespace

BoxIndex::BoxIndex(std::vector<Chosen> boxes) : boxes_(std::move(boxes)), cells_(kCells * kCells) {
  minx_ = miny_ = std::numeric_limits<double>::infinity();
  double maxx = -minx_, maxy = -miny_;
  for (const Chosen& box : boxes_) {
    minx_ = std::min(minx_, box.minx);
    miny_ = std::min(miny_, box.miny);
    maxx = std::max(maxx, box.maxx);
    maxy = std::max(maxy, box.maxy);
  }
  width_ = std::max(maxx - minx_, 1e-12);
  height_ = std::max(maxy - miny_, 1e-12);
  for (std::uint32_t i = 0; i < boxes_.size(); ++i) {
    const Chosen& box = boxes_[i];
    for (int row = cell(box.miny, miny_, height_); row <= cell(box.maxy, miny_, height_); ++row)
      for (int at = cell(box.minx, minx_, width_); at <= cell(box.maxx, minx_, width_); ++at)
        cells_[static_cast<std::size_t>(row * kCells + at)].push_back(i);
  }
}

int BoxIndex::cell(double value, double least, double size) const {
  return static_cast<int>(std::clamp((value - least) / size * kCells, 0.0, kCells - 1.0));
}

std::uint32_t BoxIndex::box_of(std::uint32_t x, std::uint32_t y) const {
  // The middle of the step: boxes that were made from centroids hold them.
  const double px = x * kDegreesPerStepX - 180 + kDegreesPerStepX / 2,
               py = y * kDegreesPerStepY - 90 + kDegreesPerStepY / 2;
  const auto at = static_cast<std::size_t>(cell(py, miny_, height_) * kCells + cell(px, minx_, width_));
  for (const std::uint32_t i : cells_[at]) {
    const Chosen& box = boxes_[i];
    if (px >= box.minx && px <= box.maxx && py >= box.miny && py <= box.maxy) return i;
  }
  std::uint32_t nearest = 0;
  double least = std::numeric_limits<double>::infinity();
  for (std::uint32_t i = 0; i < boxes_.size(); ++i) {
    const Chosen& box = boxes_[i];
    const double dx = std::max({box.minx - px, 0.0, px - box.maxx}), dy = std::max({box.miny - py, 0.0, py - box.maxy});
    if (const double far = dx * dx + dy * dy; far < least) {
      least = far;
      nearest = i;
    }
  }
  return nearest;
}

Result<BoxIndex> read_boxes(const std::string& path) {
  const auto read = [&]() -> Result<BoxIndex> { return boxes_of(*FUSED_TRY(read_table(path))); }();
  if (!read) return std::unexpected(read.error().within("partitioning_schema_input " + path));
  return *read;
}

}  // namespace fused::ingest
