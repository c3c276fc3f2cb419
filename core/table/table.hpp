// Reads of a table: its chunk list, one chunk, or what lies in a box. Any thread; calls block for the disk or the net.
#pragma once
#include <arrow/table.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "geo/tile.hpp"
#include "table/location.hpp"
#include "table/parquet_file.hpp"
#include "table/sample.hpp"
#include "table/thin_rows.hpp"

namespace fused {

// The chunk list of one version of a table. Immutable.
class Table {
 public:
  static Result<std::shared_ptr<const Table>> open(Location location);

  const Location& location() const { return location_; }
  const std::string& version() const { return version_; }
  const std::vector<ChunkRow>& chunks() const { return chunks_; }
  std::optional<Box> extent() const { return extent_; }  // of all chunks; nothing where none has geometry
  std::int64_t rows() const;                             // -1 where the chunk list does not say
  // Indexes of the chunks whose box meets the box, in their order.
  std::vector<std::size_t> find(const Box& box) const;

 private:
  Location location_;
  std::string version_;
  std::vector<ChunkRow> chunks_;
  std::vector<double> minx_, miny_, maxx_, maxy_;
  std::optional<Box> extent_;
};

struct BoxRead {
  // Degrees (EPSG:4326). minx > maxx is a box over the antimeridian. Nothing: all rows, those without geometry too.
  std::optional<Box> bounds;
  std::vector<std::string> columns;  // in this order; empty: all but the covering
  std::string where;                 // JSON, see table/where.hpp
  std::int64_t rows_max = -1;        // too_large where there would be more
  bool threads = true;
  // Few rows that stand for all (`bounds` prunes, `thin->view` decides; geometries are not looked at). unprocessable
  // where a file has no covering; `rows_max` then counts the rows that are looked at.
  std::optional<Thinning> thin;
};

// Tables and files stay open between reads and are opened anew when they have changed.
class TableReader {
 public:
  struct Options {
    std::int64_t memory_bytes_max = 16LL << 30;  // of one read
    std::size_t tables_max = 64;
    std::size_t files_max = 512;  // footers and descriptors kept
  };
  explicit TableReader(Options options);
  TableReader() : TableReader(Options()) {}
  ~TableReader();

  // not_found says what is there instead.
  Result<std::shared_ptr<const Table>> open(std::string_view url);

  // Rows whose geometry has a point in common with `bounds` and for which the condition holds, in the table's order.
  // Schema metadata ("geo") is that of the files. invalid_argument, not_found (table, column), unprocessable (a file is
  // broken; it is named), conflict (the table was replaced twice meanwhile), too_large.
  Result<std::shared_ptr<arrow::Table>> read_box(std::string_view url, const BoxRead& read);

  // Row group `chunk_id` of `{url}/{file_id}.parquet`; the whole file without a chunk id; without a file id `url` is
  // itself a Parquet file. `columns` empty: all but the covering.
  Result<std::shared_ptr<arrow::Table>> read_chunk(std::string_view url, const std::optional<std::string>& file_id,
                                                   std::optional<std::int64_t> chunk_id,
                                                   const std::vector<std::string>& columns);

  // The schema that reads of all columns have.
  Result<std::shared_ptr<arrow::Schema>> schema(std::string_view url);
  // The file as it is now.
  Result<std::shared_ptr<const ParquetFile>> file(const Location& location, const std::string& name);

 private:
  struct State;
  Result<std::shared_ptr<arrow::Table>> read_once(const Table& table, const BoxRead& read);
  std::unique_ptr<State> state_;
};

// One or two boxes for bounds; invalid_argument for NaN, infinities that are in the wrong order, miny > maxy.
Result<std::vector<Box>> boxes_of(const Box& bounds);

}  // namespace fused
