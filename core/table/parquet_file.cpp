#include "table/parquet_file.hpp"

#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/column_reader.h>
#include <parquet/file_reader.h>
#include <parquet/page_index.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "result/frame.hpp"
#include "table/parquet_call.hpp"
#include "table/sample.hpp"

namespace fused {
namespace {

std::string names_of(const arrow::Schema& schema) {
  std::string text;
  for (const auto& field : schema.fields()) {
    text += (text.empty() ? "" : ", ") + field->name();
    if (text.size() > 400) return text + ", …";
  }
  return text;
}

double decoded(const std::string& bytes, parquet::Type::type type) {
  if (type == parquet::Type::FLOAT && bytes.size() == 4) {
    float value;
    std::memcpy(&value, bytes.data(), 4);
    return value;
  }
  if (type == parquet::Type::DOUBLE && bytes.size() == 8) {
    double value;
    std::memcpy(&value, bytes.data(), 8);
    return value;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// The pages when they lie in order inside the column's bytes and cover its rows.
LeafPages sound_pages(const parquet::OffsetIndex& index, const parquet::ColumnChunkMetaData& chunk, std::int64_t rows) {
  LeafPages pages;
  std::int64_t begin = chunk.data_page_offset();
  if (chunk.has_dictionary_page() && chunk.dictionary_page_offset() > 0)
    begin = std::min(begin, chunk.dictionary_page_offset());
  const std::int64_t bytes = chunk.total_compressed_size();
  if (begin < 0 || bytes < 0 || begin > std::numeric_limits<std::int64_t>::max() - bytes) return {};
  std::int64_t at = begin, row = -1;
  for (const auto& page : index.page_locations()) {
    const bool first = row < 0;
    if (page.offset < at || page.compressed_page_size <= 0 || page.compressed_page_size > begin + bytes - page.offset ||
        (first ? page.first_row_index != 0 : page.first_row_index < row) || page.first_row_index > rows)
      return {};
    at = page.offset + page.compressed_page_size;
    row = page.first_row_index;
    pages.offsets.push_back(page.offset);
    pages.bytes.push_back(page.compressed_page_size);
    pages.first_rows.push_back(row);
  }
  if (pages.offsets.empty()) return {};
  pages.first_rows.push_back(rows);
  return pages;
}

PageBounds bounds_of(const parquet::ColumnIndex& index, parquet::Type::type type, std::size_t pages) {
  const auto &low = index.encoded_min_values(), &high = index.encoded_max_values();
  if (low.size() != pages || high.size() != pages || index.null_pages().size() != pages) return {};
  PageBounds bounds;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < pages; ++i) {
    const bool none = index.null_pages()[i];  // no row of the page has a box: it meets nothing
    bounds.low.push_back(none ? kInfinity : decoded(low[i], type));
    bounds.high.push_back(none ? -kInfinity : decoded(high[i], type));
  }
  return bounds;
}

}  // namespace

Result<std::shared_ptr<const ParquetFile>> ParquetFile::open(const Location& location, const std::string& name) {
  std::shared_ptr<ParquetFile> file(new ParquetFile());
  file->name_ = name;
  file->local_ = location.local;
  const std::string path = location.path(file->name_), doing = "cannot read '" + path + "'";
  auto input = location.files->OpenInputFile(path);
  if (!input.ok()) return std::unexpected(from_files(input.status(), doing));
  file->input_ = *input;
  const auto read = parquet_call(doing, [&]() -> Status {
    file->metadata_ = parquet::ParquetFileReader::Open(file->input_)->metadata();
    return file->read_schema();
  });
  if (!read)
    return std::unexpected(read.error().message.starts_with(doing) ? read.error() : read.error().within(doing));
  return file;
}

Status ParquetFile::read_schema() {
  if (metadata_->is_encryption_algorithm_set()) return fail(ErrorKind::unprocessable, "it is encrypted");
  const auto* leaves = metadata_->schema();
  FUSED_ARROW_CHECK("its schema", parquet::arrow::FromParquetSchema(leaves, parquet::default_arrow_reader_properties(),
                                                                    metadata_->key_value_metadata(), &schema_));
  geo_ = FUSED_TRY(read_geo_metadata(metadata_->key_value_metadata().get()));
  leaves_.resize(static_cast<std::size_t>(schema_->num_fields()));
  const auto* primary = geo_.primary_column();
  for (int leaf = 0; leaf < leaves->num_columns(); ++leaf) {
    const int field = leaves->group_node()->FieldIndex(*leaves->GetColumnRoot(leaf));
    if (field < 0 || field >= schema_->num_fields()) return fail(ErrorKind::unprocessable, "its schema is not whole");
    leaves_[static_cast<std::size_t>(field)].push_back(leaf);
    const auto type = leaves->Column(leaf)->physical_type();
    if (!primary || (type != parquet::Type::FLOAT && type != parquet::Type::DOUBLE)) continue;
    for (std::size_t side = 0; side < 4; ++side)
      if (leaves->Column(leaf)->path()->ToDotString() == primary->covering[side]) {
        covering_[side] = leaf;
        covering_field_ = field;
      }
  }
  if (std::ranges::find(covering_, -1) != covering_.end()) covering_ = {-1, -1, -1, -1}, covering_field_ = -1;
  geometry_field_ = primary ? schema_->GetFieldIndex(primary->name) : schema_->GetFieldIndex("geometry");
  for (int group = 0; group < metadata_->num_row_groups(); ++group) {
    const std::int64_t rows = metadata_->RowGroup(group)->num_rows();
    if (rows < 0 || rows > kRowGroupRowsMax)
      return fail(ErrorKind::unprocessable, "row group " + std::to_string(group) + " claims " + std::to_string(rows) +
                                                " rows; up to " + std::to_string(kRowGroupRowsMax) + " can be read");
    rows_.push_back(rows);
  }
  indexes_.resize(rows_.size());
  return {};
}

Result<std::vector<int>> ParquetFile::fields(std::span<const std::string> names) const {
  std::vector<int> found;
  for (int i = 0; names.empty() && i < schema_->num_fields(); ++i) found.push_back(i);
  for (const std::string& name : names) {
    const auto all = schema_->GetAllFieldIndices(name);
    if (all.empty())
      return fail(ErrorKind::not_found,
                  "there is no column '" + name.substr(0, 100) + "'; " + name_ + " has " + names_of(*schema_));
    found.insert(found.end(), all.begin(), all.end());
  }
  std::ranges::sort(found);
  const auto [begin, end] = std::ranges::unique(found);
  found.erase(begin, end);
  return found;
}

std::shared_ptr<const RowGroupIndex> ParquetFile::index(int row_group) const {
  const std::lock_guard lock(mutex_);
  auto& kept = indexes_[static_cast<std::size_t>(row_group)];
  if (!kept) {
    auto read = parquet_call("page index", [&]() -> Result<RowGroupIndex> { return read_index(row_group); });
    kept = std::make_shared<const RowGroupIndex>(read ? std::move(*read) : RowGroupIndex());
  }
  return kept;
}

RowGroupIndex ParquetFile::read_index(int row_group) const {
  RowGroupIndex index;
  const auto group = metadata_->RowGroup(row_group);
  const int leaves = metadata_->num_columns();
  for (int leaf = 0; leaf < leaves; ++leaf)
    if (!group->ColumnChunk(leaf)->GetOffsetIndexLocation()) return index;
  const auto properties = parquet::default_reader_properties();
  const auto reader = parquet::PageIndexReader::Make(input_.get(), metadata_, properties);
  reader->WillNeed({row_group}, {}, {/*column_index=*/covering_field_ >= 0, /*offset_index=*/true});
  const auto pages = reader->RowGroup(row_group);
  if (!pages) return index;
  std::vector<LeafPages> all;
  for (int leaf = 0; leaf < leaves; ++leaf) {
    const auto offsets = pages->GetOffsetIndex(leaf);
    if (!offsets) return index;
    all.push_back(sound_pages(*offsets, *group->ColumnChunk(leaf), rows_of(row_group)));
    if (all.back().count() == 0) return index;
  }
  index.leaves = std::move(all);
  for (std::size_t side = 0; side < 4 && covering_field_ >= 0; ++side) {
    const auto column = pages->GetColumnIndex(covering_[side]);
    if (column)
      index.covering[side] = bounds_of(*column, metadata_->schema()->Column(covering_[side])->physical_type(),
                                       index.leaves[static_cast<std::size_t>(covering_[side])].count());
  }
  return index;
}

}  // namespace fused
