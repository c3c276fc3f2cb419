// Rows in one piece: a row is moved by one copy, whatever its columns. Null bits, the fixed columns, then each variable
// column as a 32-bit length and bytes; nested values are one variable blob. Little endian, no alignment, and only read
// back by the program that wrote it.
#pragma once
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "ingest/pages.hpp"

namespace fused::ingest {

inline constexpr std::uint64_t kPackedBytesMax = 0xFFFFFFF0;  // of a batch

class RowFormat {
 public:
  // invalid_argument names a column whose type cannot be kept (unions, run-end encoded …).
  static Result<RowFormat> make(std::shared_ptr<arrow::Schema> schema);

  // `offsets` gets rows + 1 entries. too_large when the batch has more than kPackedBytesMax.
  Status offsets(const arrow::RecordBatch& batch, PagedVector<std::uint32_t>& offsets);
  // Writes every row of the batch of the last offsets() at target + offsets[row].
  void pack(const arrow::RecordBatch& batch, std::span<const std::uint32_t> offsets, std::uint8_t* target);

  // A batch of these rows, in this order. too_large when a column of 32-bit offsets has more than 2 GiB.
  Result<std::shared_ptr<arrow::RecordBatch>> unpack(std::span<const std::uint8_t* const> rows) const;

  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }

 private:
  enum class Kind { fixed, boolean, variable, large_variable, nested, nothing };
  struct Column {
    Kind kind = Kind::fixed;
    std::size_t width = 0, offset = 0;             // of fixed ones
    std::shared_ptr<arrow::DataType> type, plain;  // plain: of the same layout, with simple leaves
  };
  struct Blobs {  // a nested column of the batch at hand
    std::string bytes;
    std::vector<std::uint32_t> offsets;
  };
  Status blobs_of(const arrow::RecordBatch& batch);
  void pack_column(int at, const arrow::ArrayData& data, std::int64_t from, std::int64_t to,
                   std::span<const std::uint32_t> offsets, std::uint8_t* target, std::vector<std::uint8_t*>& cursors);

  std::shared_ptr<arrow::Schema> schema_;
  std::vector<Column> columns_;
  std::vector<Blobs> blobs_;  // one a column, empty for those that are not nested
  std::size_t fixed_bytes_ = 0;
};

}  // namespace fused::ingest
