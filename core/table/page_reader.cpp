#include "table/page_reader.hpp"

#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/util/future.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "result/frame.hpp"
#include "table/parquet_call.hpp"

namespace fused {
namespace {

constexpr std::int64_t kGapBytesMax = 64 << 10;  // pieces closer than this are read in one request, from S3
constexpr std::int64_t kPagesBytesMax = 4LL << 30;

std::string doing_of(const ParquetFile& file, int row_group) {
  return "cannot read chunk " + std::to_string(row_group) + " of " + file.name();
}

RowRanges rows_of_pages(const LeafPages& pages, const std::vector<bool>& wanted) {
  RowRanges rows;
  for (std::size_t i = 0; i < pages.count(); ++i) {
    if (!wanted[i] || pages.first_rows[i] == pages.first_rows[i + 1]) continue;
    if (!rows.empty() && rows.back().end == pages.first_rows[i])
      rows.back().end = pages.first_rows[i + 1];
    else
      rows.push_back({pages.first_rows[i], pages.first_rows[i + 1]});
  }
  return rows;
}

std::vector<bool> pages_of_rows(const LeafPages& pages, const RowRanges& rows) {
  std::vector<bool> wanted(pages.count(), false);
  for (const RowRange& range : rows) {
    auto at =
        static_cast<std::size_t>(std::ranges::upper_bound(pages.first_rows, range.begin) - pages.first_rows.begin());
    for (std::size_t i = at == 0 ? 0 : at - 1; i < pages.count() && pages.first_rows[i] < range.end; ++i)
      wanted[i] = true;
  }
  return wanted;
}

// A piece of the file and where it goes in ours.
struct Piece {
  std::int64_t from, bytes, to;
};

std::int64_t chunk_begin(const parquet::ColumnChunkMetaData& chunk) {
  const std::int64_t data = chunk.data_page_offset();
  return chunk.has_dictionary_page() && chunk.dictionary_page_offset() > 0
             ? std::min(data, chunk.dictionary_page_offset())
             : data;
}

// A Parquet file of one row group, made of some pages of another's row group. Columns that are not asked for have no
// bytes; nobody reads them.
class PageSelection {
 public:
  PageSelection(const ParquetFile& file, int row_group) : file_(file), group_(file.metadata()->RowGroup(row_group)) {}

  void add(int leaf, const LeafPages& pages, const std::vector<bool>& wanted) {
    const auto chunk = group_->ColumnChunk(leaf);
    Column column{.begin = size_};
    const std::int64_t begin = chunk_begin(*chunk);
    column.dictionary_bytes = pages.offsets.front() - begin;
    push(begin, column.dictionary_bytes);
    for (std::size_t i = 0; i < pages.count(); ++i)
      if (wanted[i]) push(pages.offsets[i], pages.bytes[i]);
    column.bytes = size_ - column.begin;
    columns_[leaf] = column;
  }

  Result<std::shared_ptr<arrow::Buffer>> read(arrow::MemoryPool* pool) const {
    if (size_ > kPagesBytesMax) return fail(ErrorKind::too_large, "its pages have " + std::to_string(size_) + " bytes");
    std::shared_ptr<arrow::Buffer> whole = FUSED_ARROW_TRY("pages", arrow::AllocateBuffer(size_, pool));
    if (file_.local()) {
      for (const Piece& piece : pieces_) {
        const auto got = file_.input()->ReadAt(piece.from, piece.bytes, whole->mutable_data() + piece.to);
        if (!got.ok()) return std::unexpected(from_files(got.status(), "pages"));
        if (*got != piece.bytes) return fail(ErrorKind::unprocessable, "the file ends within a page");
      }
      return whole;
    }
    FUSED_CHECK(read_side_by_side(whole->mutable_data()));
    return whole;
  }

  std::shared_ptr<parquet::FileMetaData> footer(std::int64_t rows) const {
    const auto* schema = file_.metadata()->schema();
    parquet::WriterProperties::Builder properties;
    properties.created_by(file_.metadata()->created_by());
    for (const auto& [leaf, column] : columns_)
      properties.compression(schema->Column(leaf)->path(), group_->ColumnChunk(leaf)->compression());
    auto builder = parquet::FileMetaDataBuilder::Make(schema, properties.build());
    auto* group = builder->AppendRowGroup();
    group->set_num_rows(rows);
    for (int leaf = 0; leaf < schema->num_columns(); ++leaf) {
      auto* chunk = group->NextColumnChunk();
      const auto found = columns_.find(leaf);
      const Column column = found == columns_.end() ? Column{} : found->second;
      // Of repeated columns nobody knows how many values the pages have; the pages end where the bytes end.
      const bool repeats = schema->Column(leaf)->max_repetition_level() > 0;
      const std::int64_t values = repeats ? group_->ColumnChunk(leaf)->num_values() : rows;
      chunk->Finish(values, column.dictionary_bytes > 0 ? column.begin : -1, -1, column.begin + column.dictionary_bytes,
                    column.bytes, column.bytes, column.dictionary_bytes > 0, false, {}, {});
    }
    group->Finish(size_);
    return builder->Finish(file_.metadata()->key_value_metadata());
  }

 private:
  struct Column {
    std::int64_t begin = kMagicBytes, dictionary_bytes = 0, bytes = 0;
  };
  static constexpr std::int64_t kMagicBytes = 4;

  void push(std::int64_t from, std::int64_t bytes) {
    if (bytes == 0) return;
    if (!pieces_.empty() && pieces_.back().from + pieces_.back().bytes == from)
      pieces_.back().bytes += bytes;
    else
      pieces_.push_back({from, bytes, size_});
    size_ += bytes;
  }

  Status read_side_by_side(std::uint8_t* to) const {
    std::vector<Piece> order = pieces_;
    std::ranges::sort(order, {}, &Piece::from);
    std::vector<arrow::io::ReadRange> requests;
    for (const Piece& piece : order) {
      if (!requests.empty() && piece.from - (requests.back().offset + requests.back().length) < kGapBytesMax)
        requests.back().length = piece.from + piece.bytes - requests.back().offset;
      else
        requests.push_back({piece.from, piece.bytes});
    }
    const auto replies = file_.input()->ReadManyAsync(requests);
    std::size_t at = 0;
    for (const Piece& piece : order) {
      while (piece.from >= requests[at].offset + requests[at].length) ++at;
      const auto& buffer = replies[at].result();
      if (!buffer.ok()) return std::unexpected(from_files(buffer.status(), "pages"));
      const std::int64_t skip = piece.from - requests[at].offset;
      if ((*buffer)->size() < skip + piece.bytes)
        return fail(ErrorKind::unprocessable, "the object ends within a page");
      std::memcpy(to + piece.to, (*buffer)->data() + skip, static_cast<std::size_t>(piece.bytes));
    }
    return {};
  }

  const ParquetFile& file_;
  std::unique_ptr<parquet::RowGroupMetaData> group_;
  std::map<int, Column> columns_;
  std::vector<Piece> pieces_;
  std::int64_t size_ = kMagicBytes;
};

Result<std::shared_ptr<arrow::Table>> decode(std::unique_ptr<parquet::ParquetFileReader> parquet, int row_group,
                                             const std::vector<int>& leaves, arrow::MemoryPool* pool, bool threads,
                                             bool buffer) {
  parquet::ArrowReaderProperties properties(threads);
  properties.set_pre_buffer(buffer);
  const auto reader =
      FUSED_ARROW_TRY("columns", parquet::arrow::FileReader::Make(pool, std::move(parquet), properties));
  return FUSED_ARROW_TRY("columns", reader->ReadRowGroup(row_group, leaves));
}

parquet::ReaderProperties reader_properties(arrow::MemoryPool* pool) {
  parquet::ReaderProperties properties(pool);
  properties.set_page_checksum_verification(true);
  return properties;
}

std::vector<int> leaves_of(const ParquetFile& file, std::span<const int> fields) {
  std::vector<int> leaves;
  for (const int field : fields)
    for (const int leaf : file.leaves_of(field)) leaves.push_back(leaf);
  return leaves;
}

Result<std::shared_ptr<arrow::Table>> read_whole_group(const ParquetFile& file, int row_group,
                                                       std::span<const int> fields, arrow::MemoryPool* pool,
                                                       bool threads) {
  return decode(parquet::ParquetFileReader::Open(file.input(), reader_properties(pool), file.metadata()), row_group,
                leaves_of(file, fields), pool, threads, !file.local());
}

// `whole` holds the rows `have`; those of `want` are a part of them.
std::shared_ptr<arrow::Table> cut(const std::shared_ptr<arrow::Table>& whole, const RowRanges& have,
                                  const RowRanges& want) {
  if (have == want) return whole;
  std::vector<std::shared_ptr<arrow::Table>> pieces;
  std::int64_t before = 0;
  std::size_t at = 0;
  for (const RowRange& range : want) {
    while (at < have.size() && have[at].end <= range.begin) before += have[at].end - have[at].begin, ++at;
    pieces.push_back(whole->Slice(before + range.begin - have[at].begin, range.end - range.begin));
  }
  return pieces.size() == 1 ? pieces[0] : arrow::ConcatenateTables(pieces).ValueOrDie();
}

// Columns whose pages hold the same rows are read together.
struct Group {
  RowRanges rows;
  std::vector<int> fields;
};

Result<std::vector<Group>> group_fields(const ParquetFile& file, const RowGroupIndex& index, const RowRanges& rows,
                                        std::span<const int> fields) {
  std::vector<Group> groups;
  for (const int field : fields) {
    RowRanges have;
    for (const int leaf : file.leaves_of(field)) {
      const auto& pages = index.leaves[static_cast<std::size_t>(leaf)];
      const RowRanges of_leaf = rows_of_pages(pages, pages_of_rows(pages, rows));
      if (!have.empty() && have != of_leaf)
        return std::vector<Group>();  // parts of a column that do not begin together
      have = of_leaf;
    }
    const auto known = std::ranges::find(groups, have, &Group::rows);
    if (known != groups.end())
      known->fields.push_back(field);
    else
      groups.push_back({have, {field}});
  }
  return groups;
}

Result<std::shared_ptr<arrow::Table>> read_pages(const ParquetFile& file, int row_group, const RowRanges& rows,
                                                 std::span<const int> fields, arrow::MemoryPool* pool) {
  const auto index = file.index(row_group);
  const RowRanges all{{0, file.rows_of(row_group)}};
  const auto whole = [&]() -> Result<std::shared_ptr<arrow::Table>> {
    auto table = read_whole_group(file, row_group, fields, pool, false);
    if (table && (*table)->num_rows() == file.rows_of(row_group)) return cut(*table, all, rows);
    return table ? fail(ErrorKind::unprocessable, "it has fewer rows than it claims") : table;
  };
  if (index->leaves.empty()) return whole();
  const auto groups = FUSED_TRY(group_fields(file, *index, rows, fields));
  if (groups.empty()) return whole();
  std::vector<std::shared_ptr<arrow::Field>> columns_fields(fields.size());
  std::vector<std::shared_ptr<arrow::ChunkedArray>> columns(fields.size());
  std::shared_ptr<const arrow::KeyValueMetadata> metadata;
  for (const Group& group : groups) {
    PageSelection selection(file, row_group);
    const auto leaves = leaves_of(file, group.fields);
    for (const int leaf : leaves) {
      const auto& pages = index->leaves[static_cast<std::size_t>(leaf)];
      selection.add(leaf, pages, pages_of_rows(pages, rows));
    }
    auto bytes = FUSED_TRY(selection.read(pool));
    auto parquet = parquet::ParquetFileReader::Open(std::make_shared<arrow::io::BufferReader>(std::move(bytes)),
                                                    reader_properties(pool), selection.footer(count_rows(group.rows)));
    const auto table = FUSED_TRY(decode(std::move(parquet), 0, leaves, pool, false, false));
    if (table->num_rows() != count_rows(group.rows))
      return fail(ErrorKind::unprocessable, "its page index and its pages do not agree");
    const auto exact = cut(table, group.rows, rows);
    metadata = exact->schema()->metadata();
    for (std::size_t i = 0; i < group.fields.size(); ++i) {
      const auto at = static_cast<std::size_t>(std::ranges::find(fields, group.fields[i]) - fields.begin());
      columns_fields[at] = exact->schema()->field(static_cast<int>(i));
      columns[at] = exact->column(static_cast<int>(i));
    }
  }
  return arrow::Table::Make(arrow::schema(columns_fields, metadata), columns, count_rows(rows));
}

}  // namespace

std::int64_t count_rows(const RowRanges& rows) {
  std::int64_t count = 0;
  for (const RowRange& range : rows) count += range.end - range.begin;
  return count;
}

RowRanges intersection(const RowRanges& a, const RowRanges& b) {
  RowRanges both;
  for (std::size_t i = 0, k = 0; i < a.size() && k < b.size();) {
    const RowRange part{std::max(a[i].begin, b[k].begin), std::min(a[i].end, b[k].end)};
    if (part.begin < part.end) both.push_back(part);
    a[i].end < b[k].end ? ++i : ++k;
  }
  return both;
}

RowRanges ranges_of(std::span<const std::int64_t> rows) {
  constexpr std::int64_t kGapRowsMax = 64;
  RowRanges ranges;
  for (const std::int64_t row : rows) {
    if (!ranges.empty() && row - ranges.back().end <= kGapRowsMax)
      ranges.back().end = row + 1;
    else
      ranges.push_back({row, row + 1});
  }
  return ranges;
}

RowRanges unite(const RowRanges& a, const RowRanges& b) {
  RowRanges all = a;
  all.insert(all.end(), b.begin(), b.end());
  std::ranges::sort(all, {}, &RowRange::begin);
  RowRanges both;
  for (const RowRange& range : all) {
    if (!both.empty() && range.begin <= both.back().end)
      both.back().end = std::max(both.back().end, range.end);
    else
      both.push_back(range);
  }
  return both;
}

namespace {

RowRanges rows_near(const ParquetFile& file, const RowGroupIndex& index, RowRanges rows, const Box& box) {
  for (std::size_t side = 0; side < 4; ++side) {
    const PageBounds& bounds = index.covering[side];
    if (bounds.low.empty()) continue;
    const auto& pages = index.leaves[static_cast<std::size_t>(file.covering_leaf(side))];
    std::vector<bool> wanted(pages.count(), false);
    for (std::size_t i = 0; i < pages.count(); ++i) {
      // NaN bounds exclude nothing.
      const bool out = side == 0   ? bounds.low[i] > box.maxx
                       : side == 1 ? bounds.low[i] > box.maxy
                       : side == 2 ? bounds.high[i] < box.minx
                                   : bounds.high[i] < box.miny;
      wanted[i] = !out;
    }
    rows = intersection(rows, rows_of_pages(pages, wanted));
  }
  return rows;
}

}  // namespace

RowRanges rows_near(const ParquetFile& file, int row_group, std::span<const Box> boxes) {
  RowRanges rows;
  if (file.rows_of(row_group) > 0) rows.push_back({0, file.rows_of(row_group)});
  const auto index = file.index(row_group);
  if (index->leaves.empty() || boxes.empty()) return rows;
  RowRanges near;  // box by box: the sides of two boxes together say little
  for (const Box& box : boxes) near = unite(near, rows_near(file, *index, rows, box));
  return near;
}

Result<std::shared_ptr<arrow::Table>> read_rows(const ParquetFile& file, int row_group, const RowRanges& rows,
                                                std::span<const int> fields, arrow::MemoryPool* pool, bool threads) {
  const std::string doing = doing_of(file, row_group);
  auto table = parquet_call(doing, [&]() -> Result<std::shared_ptr<arrow::Table>> {
    if (fields.empty()) return arrow::Table::Make(arrow::schema({}), arrow::ArrayVector(), count_rows(rows));
    const bool whole = rows.size() == 1 && rows[0].end - rows[0].begin == file.rows_of(row_group);
    auto read = whole || rows.empty() ? read_whole_group(file, row_group, fields, pool, threads)
                                      : read_pages(file, row_group, rows, fields, pool);
    if (!read) return read;
    const std::int64_t wanted = whole ? file.rows_of(row_group) : rows.empty() ? (*read)->num_rows() : count_rows(rows);
    if ((*read)->num_rows() != wanted)
      return fail(ErrorKind::unprocessable,
                  "it claims " + std::to_string(wanted) + " rows and has " + std::to_string((*read)->num_rows()));
    FUSED_ARROW_CHECK("columns", (*read)->Validate());
    return read;
  });
  if (table || table.error().message.starts_with(doing)) return table;
  return std::unexpected(table.error().within(doing));
}

}  // namespace fused
