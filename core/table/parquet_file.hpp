// One data file of a table, opened: footer, what it says of geometry, and the page index of row groups as they are
// asked for. Immutable for its readers; any thread.
#pragma once
#include <arrow/io/interfaces.h>
#include <arrow/type.h>
#include <parquet/metadata.h>

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "table/geo_metadata.hpp"
#include "table/location.hpp"

namespace fused {

inline constexpr std::int64_t kRowGroupRowsMax = 1LL << 27;

// Pages of one leaf column within a row group; empty where the file has no (sound) index for it.
struct LeafPages {
  std::vector<std::int64_t> offsets;     // of the page in the file
  std::vector<std::int32_t> bytes;       // compressed, with its header
  std::vector<std::int64_t> first_rows;  // within the row group; one more than pages, the last is the row count
  std::size_t count() const { return offsets.size(); }
};

// Smallest and largest value a page, of a covering column; NaN where not known.
struct PageBounds {
  std::vector<double> low, high;
};

struct RowGroupIndex {
  std::vector<LeafPages> leaves;         // of every leaf column, or empty
  std::array<PageBounds, 4> covering{};  // of xmin, ymin, xmax, ymax; empty where not known
};

class ParquetFile {
 public:
  // Errors name the file: not_found, unprocessable (not Parquet, truncated, encrypted …).
  // `name` within the location: "a.parquet".
  static Result<std::shared_ptr<const ParquetFile>> open(const Location& location, const std::string& name);

  const std::string& name() const { return name_; }  // "a.parquet"
  const std::shared_ptr<arrow::io::RandomAccessFile>& input() const { return input_; }
  const std::shared_ptr<parquet::FileMetaData>& metadata() const { return metadata_; }
  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  const GeoMetadata& geo() const { return geo_; }
  bool local() const { return local_; }
  int row_groups() const { return metadata_->num_row_groups(); }
  std::int64_t rows_of(int row_group) const { return rows_[static_cast<std::size_t>(row_group)]; }

  // Top-level columns by name, in the order of the file; all for an empty list. not_found names the first that is not
  // there and those that are.
  Result<std::vector<int>> fields(std::span<const std::string> names) const;
  // Leaf columns of a top-level one.
  std::span<const int> leaves_of(int field) const { return leaves_[static_cast<std::size_t>(field)]; }
  // The leaf of the covering's side (xmin, ymin, xmax, ymax), or -1; and the top-level column they lie in.
  int covering_leaf(std::size_t side) const { return covering_[side]; }
  int covering_field() const { return covering_field_; }
  // The top-level column of the primary geometry, or -1.
  int geometry_field() const { return geometry_field_; }

  // Read once a row group. Empty where there is none, or where what is there is not sound.
  std::shared_ptr<const RowGroupIndex> index(int row_group) const;

 private:
  ParquetFile() = default;
  Status read_schema();
  RowGroupIndex read_index(int row_group) const;

  std::string name_;
  bool local_ = true;
  std::shared_ptr<arrow::io::RandomAccessFile> input_;
  std::shared_ptr<parquet::FileMetaData> metadata_;
  std::shared_ptr<arrow::Schema> schema_;
  GeoMetadata geo_;
  std::vector<std::int64_t> rows_;
  std::vector<std::vector<int>> leaves_;
  std::array<int, 4> covering_{-1, -1, -1, -1};
  int covering_field_ = -1;
  int geometry_field_ = -1;
  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<const RowGroupIndex>> indexes_;
};

}  // namespace fused
