#include "table/sample.hpp"

#include <arrow/array.h>
#include <arrow/array/concatenate.h>
#include <arrow/array/util.h>
#include <arrow/builder.h>
#include <arrow/compute/cast.h>
#include <arrow/io/memory.h>
#include <arrow/util/base64.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>
#include <parquet/file_reader.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_set>

#include "base/text.hpp"
#include "result/frame.hpp"
#include "table/capped_pool.hpp"
#include "table/parquet_call.hpp"

namespace fused {
namespace {

constexpr std::string_view kVersionKey = "fused:format_version";
constexpr std::string_view kMetadataKey = "fused:_metadata";
constexpr std::size_t kOldBlobOffset = 20;  // version 4 has 20 bytes more, here
constexpr std::size_t kFileIdBytesMax = 200;

bool is_box(const Box& box) {
  const bool none = std::isnan(box.minx) && std::isnan(box.miny) && std::isnan(box.maxx) && std::isnan(box.maxy);
  return none || (box.minx <= box.maxx && box.miny <= box.maxy && std::isfinite(box.minx) && std::isfinite(box.miny) &&
                  std::isfinite(box.maxx) && std::isfinite(box.maxy));
}

std::string box_text(const Box& box) {
  return '(' + std::to_string(box.minx) + ", " + std::to_string(box.miny) + ", " + std::to_string(box.maxx) + ", " +
         std::to_string(box.maxy) + ')';
}

std::string name_of(const ChunkRow& row, std::size_t at) {
  return "row " + std::to_string(at) + " (file '" + row.file_id.substr(0, 60) + "', chunk " +
         std::to_string(row.chunk_id) + ")";
}

Status check_row(const ChunkRow& row, std::size_t at) {
  if (!is_file_id(row.file_id))
    return fail(ErrorKind::unprocessable, name_of(row, at) + ": the file id is not a plain file name");
  if (row.chunk_id < 0 || row.chunk_id > kTableChunksMax)
    return fail(ErrorKind::unprocessable, name_of(row, at) + ": chunk ids are 0 … " + std::to_string(kTableChunksMax));
  if (!is_box(row.box))
    return fail(ErrorKind::unprocessable,
                name_of(row, at) + ": " + box_text(row.box) +
                    " is not a box (minx <= maxx, miny <= maxy, finite; or four NaN for a chunk without geometry)");
  if (row.num_rows < -1 || row.num_coords < -1)
    return fail(ErrorKind::unprocessable, name_of(row, at) + ": a count is negative");
  return {};
}

struct ChunkKey {
  std::string_view file;
  std::int64_t chunk;
  bool operator==(const ChunkKey&) const = default;
};
struct ChunkKeyHash {
  std::size_t operator()(const ChunkKey& key) const {
    return std::hash<std::string_view>()(key.file) ^ (static_cast<std::size_t>(key.chunk) * 0x9E3779B97F4A7C15u);
  }
};

Status check_rows(std::span<const ChunkRow> rows) {
  std::unordered_set<ChunkKey, ChunkKeyHash> seen;
  seen.reserve(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    FUSED_CHECK(check_row(rows[i], i));
    if (!seen.insert({rows[i].file_id, rows[i].chunk_id}).second)
      return fail(ErrorKind::unprocessable, name_of(rows[i], i) + ": the chunk is named twice");
  }
  return {};
}

// The blob of `fused:_metadata`, decoded.
Result<std::string> blob_of(std::string_view bytes) {
  if (static_cast<std::int64_t>(bytes.size()) > kSampleBytesMax)
    return fail(ErrorKind::too_large,
                "it has " + std::to_string(bytes.size()) + " bytes and may have " + std::to_string(kSampleBytesMax));
  const auto metadata =
      parquet_call("it is not a Parquet file", [&]() -> Result<std::shared_ptr<const arrow::KeyValueMetadata>> {
        auto source = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::string(bytes)));
        return parquet::ParquetFileReader::Open(std::move(source))->metadata()->key_value_metadata();
      });
  if (!metadata) return std::unexpected(metadata.error());
  const auto find = [&](std::string_view key) -> std::string_view {
    const int at = *metadata ? (*metadata)->FindKey(key) : -1;
    return at < 0 ? std::string_view() : std::string_view((*metadata)->value(at));
  };
  const std::string_view version = find(kVersionKey);
  if (version != "5" && version != "4")
    return fail(ErrorKind::unprocessable,
                version.empty() ? "it has no '" + std::string(kVersionKey) + "': it is not the _sample of a table"
                                : "its " + std::string(kVersionKey) + " is '" + std::string(version.substr(0, 20)) +
                                      "'; 5 and 4 can be read");
  const std::string_view text = find(kMetadataKey);
  if (text.empty()) return fail(ErrorKind::unprocessable, "it has no '" + std::string(kMetadataKey) + "'");
  std::string dense(text);
  std::erase_if(dense, [](char c) { return c == '\n' || c == '\r' || c == ' ' || c == '\t'; });
  std::string blob = FUSED_ARROW_TRY("its chunk list is not base64", arrow::util::base64_decode(dense));
  if (version == "4") {
    if (blob.size() < 2 * kOldBlobOffset)
      return fail(ErrorKind::unprocessable,
                  "its chunk list of version 4 has " + std::to_string(blob.size()) + " bytes");
    blob.erase(kOldBlobOffset, kOldBlobOffset);
  }
  return blob;
}

Result<std::shared_ptr<arrow::Table>> read_blob(std::string blob, std::span<const std::string_view> wanted) {
  constexpr std::string_view kDoing = "its chunk list cannot be read";
  const auto pool = make_capped_pool(kSampleMemoryMax);
  return parquet_call(kDoing, [&]() -> Result<std::shared_ptr<arrow::Table>> {
    auto source = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::move(blob)));
    parquet::ReaderProperties checked(pool.get());
    checked.set_page_checksum_verification(true);
    auto file = parquet::ParquetFileReader::Open(std::move(source), checked);
    const std::int64_t rows = file->metadata()->num_rows();
    if (rows < 0 || rows > kTableChunksMax)
      return fail(ErrorKind::unprocessable,
                  "it claims " + std::to_string(rows) + " chunks; a table may have " + std::to_string(kTableChunksMax));
    const auto properties = parquet::ArrowReaderProperties(/*use_threads=*/false);
    const auto reader =
        FUSED_ARROW_TRY(kDoing, parquet::arrow::FileReader::Make(pool.get(), std::move(file), properties));
    std::shared_ptr<arrow::Schema> schema;
    FUSED_ARROW_CHECK(kDoing, reader->GetSchema(&schema));
    const bool flat = reader->parquet_reader()->metadata()->num_columns() == schema->num_fields();
    std::vector<int> columns;
    for (int i = 0; i < schema->num_fields(); ++i)
      if (wanted.empty() || !flat || std::ranges::find(wanted, schema->field(i)->name()) != wanted.end())
        columns.push_back(i);
    const auto table =
        flat ? FUSED_ARROW_TRY(kDoing, reader->ReadTable(columns)) : FUSED_ARROW_TRY(kDoing, reader->ReadTable());
    FUSED_ARROW_CHECK(kDoing, table->Validate());
    if (table->num_rows() != rows)
      return fail(ErrorKind::unprocessable, std::string(kDoing) + ": it claims " + std::to_string(rows) +
                                                " rows and has " + std::to_string(table->num_rows()));
    return table;
  });
}

constexpr std::string_view kColumns[] = {"file_id",   "chunk_id", "bbox_minx",  "bbox_miny",  "bbox_maxx",
                                         "bbox_maxy", "sum_area", "sum_length", "num_coords", "num_rows"};
constexpr int kRequired = 6;  // the first of them

// A column as one array of `type`; null where it is not there and need not be.
Result<std::shared_ptr<arrow::Array>> column_as(const arrow::Table& table, int at,
                                                const std::shared_ptr<arrow::DataType>& type) {
  const std::string name(kColumns[at]);
  const auto indices = table.schema()->GetAllFieldIndices(name);
  if (indices.size() > 1) return fail(ErrorKind::unprocessable, "its chunk list has two columns '" + name + "'");
  if (indices.empty()) {
    if (at >= kRequired) return nullptr;
    return fail(ErrorKind::unprocessable,
                "its chunk list has no column '" + name + "'; it has " + table.schema()->ToString().substr(0, 300));
  }
  const auto column = table.column(indices[0]);
  const std::string doing = "column '" + name + "' of its chunk list";
  auto array = column->num_chunks() == 1
                   ? column->chunk(0)
                   : FUSED_ARROW_TRY(doing, column->num_chunks() == 0 ? arrow::MakeEmptyArray(column->type())
                                                                      : arrow::Concatenate(column->chunks()));
  if (!array->type()->Equals(type)) array = FUSED_ARROW_TRY(doing, arrow::compute::Cast(*array, type));
  if (at < 2 && array->null_count() > 0) return fail(ErrorKind::unprocessable, doing + " has nulls");
  return array;
}

template <class ArrayType>
auto value_or(const std::shared_ptr<arrow::Array>& array, std::int64_t row, typename ArrayType::value_type fallback) {
  return array == nullptr || array->IsNull(row) ? fallback : static_cast<const ArrayType&>(*array).Value(row);
}

Result<std::vector<ChunkRow>> rows_of(const arrow::Table& table) {
  std::shared_ptr<arrow::Array> columns[std::size(kColumns)];
  for (int i = 0; i < static_cast<int>(std::size(kColumns)); ++i) {
    const bool whole = i == 1 || i >= 8;
    columns[i] = FUSED_TRY(column_as(table, i, i == 0 ? arrow::utf8() : whole ? arrow::int64() : arrow::float64()));
  }
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const auto number = [&](int at, std::int64_t row) { return value_or<arrow::DoubleArray>(columns[at], row, kNan); };
  const auto count = [&](int at, std::int64_t row) { return value_or<arrow::Int64Array>(columns[at], row, -1); };
  const auto& names = static_cast<const arrow::StringArray&>(*columns[0]);
  std::vector<ChunkRow> rows(static_cast<std::size_t>(table.num_rows()));
  for (std::int64_t i = 0; i < table.num_rows(); ++i) {
    ChunkRow& row = rows[static_cast<std::size_t>(i)];
    row.file_id = names.GetView(i);
    row.chunk_id = count(1, i);
    row.box = {number(2, i), number(3, i), number(4, i), number(5, i)};
    row.sum_area = number(6, i);
    row.sum_length = number(7, i);
    row.num_coords = count(8, i);
    row.num_rows = count(9, i);
  }
  FUSED_CHECK(check_rows(rows));
  return rows;
}

template <class Builder, class Value>
Result<std::shared_ptr<arrow::Array>> build(std::span<const ChunkRow> rows, Value&& value) {
  Builder builder;
  FUSED_ARROW_CHECK("chunk list", builder.Reserve(static_cast<std::int64_t>(rows.size())));
  for (const ChunkRow& row : rows) FUSED_ARROW_CHECK("chunk list", builder.Append(value(row)));
  return FUSED_ARROW_TRY("chunk list", builder.Finish());
}

Result<std::shared_ptr<arrow::Table>> table_of(std::span<const ChunkRow> rows) {
  using Text = arrow::StringBuilder;
  using Whole = arrow::Int64Builder;
  using Number = arrow::DoubleBuilder;
  std::vector<std::shared_ptr<arrow::Array>> columns{
      FUSED_TRY(build<Text>(rows, [](const ChunkRow& row) { return row.file_id; })),
      FUSED_TRY(build<Whole>(rows, [](const ChunkRow& row) { return row.chunk_id; })),
      FUSED_TRY(build<Number>(rows, [](const ChunkRow& row) { return row.box.minx; })),
      FUSED_TRY(build<Number>(rows, [](const ChunkRow& row) { return row.box.miny; })),
      FUSED_TRY(build<Number>(rows, [](const ChunkRow& row) { return row.box.maxx; })),
      FUSED_TRY(build<Number>(rows, [](const ChunkRow& row) { return row.box.maxy; })),
      FUSED_TRY(build<Number>(rows, [](const ChunkRow& row) { return row.sum_area; })),
      FUSED_TRY(build<Number>(rows, [](const ChunkRow& row) { return row.sum_length; })),
      FUSED_TRY(build<Whole>(rows, [](const ChunkRow& row) { return row.num_coords; })),
      FUSED_TRY(build<Whole>(rows, [](const ChunkRow& row) { return row.num_rows; }))};
  std::vector<std::shared_ptr<arrow::Field>> fields;
  for (std::size_t i = 0; i < columns.size(); ++i)
    fields.push_back(arrow::field(std::string(kColumns[i]), columns[i]->type(), /*nullable=*/false));
  return arrow::Table::Make(arrow::schema(fields), columns, static_cast<std::int64_t>(rows.size()));
}

Result<std::string> parquet_bytes(const arrow::Table& table, std::shared_ptr<const arrow::KeyValueMetadata> metadata) {
  return parquet_call("chunk list", [&]() -> Result<std::string> {
    auto sink = FUSED_ARROW_TRY("chunk list", arrow::io::BufferOutputStream::Create());
    const auto properties =
        parquet::WriterProperties::Builder().compression(parquet::Compression::ZSTD)->enable_page_checksum()->build();
    auto writer = FUSED_ARROW_TRY("chunk list", parquet::arrow::FileWriter::Open(
                                                    *table.schema(), arrow::default_memory_pool(), sink, properties));
    if (table.num_rows() > 0) FUSED_ARROW_CHECK("chunk list", writer->WriteTable(table, table.num_rows()));
    if (metadata) FUSED_ARROW_CHECK("chunk list", writer->AddKeyValueMetadata(metadata));
    FUSED_ARROW_CHECK("chunk list", writer->Close());
    const auto buffer = FUSED_ARROW_TRY("chunk list", sink->Finish());
    return std::string(buffer->ToString());
  });
}

}  // namespace

bool is_file_id(std::string_view text) {
  if (text.empty() || text.size() > kFileIdBytesMax || text[0] == '.' || text[0] == '_') return false;
  return is_utf8(text) && std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7F || c == '/'; });
}

Result<std::string> sample_bytes(std::span<const ChunkRow> rows) {
  if (static_cast<std::int64_t>(rows.size()) > kTableChunksMax)
    return fail(ErrorKind::invalid_argument,
                "a table may have " + std::to_string(kTableChunksMax) + " chunks, not " + std::to_string(rows.size()));
  if (const auto good = check_rows(rows); !good)
    return fail(ErrorKind::invalid_argument, "cannot describe the table: " + good.error().message);
  const auto chunks = FUSED_TRY(table_of(rows));
  const std::string blob = FUSED_TRY(parquet_bytes(*chunks, nullptr));
  const auto metadata = arrow::key_value_metadata(
      {{std::string(kVersionKey), "5"}, {std::string(kMetadataKey), arrow::util::base64_encode(blob)}});
  // Nobody reads the outer table; one column, because a file without any is refused by some readers.
  const auto empty =
      arrow::Table::Make(arrow::schema({arrow::field("file_id", arrow::utf8())}),
                         arrow::ArrayVector{FUSED_ARROW_TRY("table", arrow::MakeEmptyArray(arrow::utf8()))});
  return parquet_bytes(*empty, metadata);
}

Result<std::vector<ChunkRow>> parse_sample(std::string_view bytes) {
  std::string blob = FUSED_TRY(blob_of(bytes));
  const auto table = FUSED_TRY(read_blob(std::move(blob), kColumns));
  return parquet_call("its chunk list cannot be read", [&] { return rows_of(*table); });
}

Result<std::shared_ptr<arrow::Table>> sample_table(std::string_view bytes) {
  std::string blob = FUSED_TRY(blob_of(bytes));
  return read_blob(std::move(blob), {});
}

}  // namespace fused
