#include "ingest/row_format.hpp"

#include <arrow/array.h>
#include <arrow/util/bit_util.h>

#include <cstring>

#include "ingest/nested.hpp"
#include "result/frame.hpp"

namespace fused::ingest {
namespace {

constexpr std::int64_t kSlice = 512;  // rows that are packed together: they stay in the processor's cache

template <std::size_t width>
void pack_fixed(const std::uint8_t* values, std::int64_t from, std::int64_t to, const std::uint32_t* offsets,
                std::uint8_t* target) {
  for (std::int64_t i = from; i < to; ++i)
    std::memcpy(target + offsets[i], values + static_cast<std::size_t>(i) * width, width);
}

template <std::size_t width>
void unpack_fixed(std::span<const std::uint8_t* const> rows, std::size_t offset, std::uint8_t* values) {
  for (std::size_t i = 0; i < rows.size(); ++i) std::memcpy(values + i * width, rows[i] + offset, width);
}

// Rows that are null in `data`, marked in the packed rows.
void pack_nulls(int at, const arrow::ArrayData& data, std::int64_t from, std::int64_t to, const std::uint32_t* offsets,
                std::uint8_t* target) {
  const std::uint8_t* valid = data.buffers[0]->data();
  for (std::int64_t i = from; i < to; ++i)
    if (!arrow::bit_util::GetBit(valid, data.offset + i))
      target[offsets[i] + static_cast<std::uint32_t>(at) / 8] |= static_cast<std::uint8_t>(1U << (at % 8));
}

template <class Offset>
void pack_variable(const arrow::ArrayData& data, std::int64_t from, std::int64_t to,
                   std::vector<std::uint8_t*>& cursors) {
  const auto* offsets = data.GetValues<Offset>(1);
  const std::uint8_t* bytes = data.buffers[2] ? data.buffers[2]->data() : nullptr;
  for (std::int64_t i = from; i < to; ++i) {
    std::uint8_t*& cursor = cursors[static_cast<std::size_t>(i - from)];
    const auto size = static_cast<std::uint32_t>(offsets[i + 1] - offsets[i]);
    std::memcpy(cursor, &size, 4);
    if (size != 0) std::memcpy(cursor + 4, bytes + offsets[i], size);
    cursor += 4 + size;
  }
}

template <class Offset>
void add_sizes(const arrow::ArrayData& data, std::int64_t rows, std::vector<std::uint64_t>& sizes) {
  const auto* offsets = data.GetValues<Offset>(1);
  for (std::int64_t i = 0; i < rows; ++i)
    sizes[static_cast<std::size_t>(i)] += 4 + static_cast<std::uint64_t>(offsets[i + 1] - offsets[i]);
}

using Cursors = std::vector<const std::uint8_t*>;

// Offsets and bytes of a variable column; the cursors move behind it.
template <class Offset>
Result<std::shared_ptr<arrow::ArrayData>> unpack_variable(const std::shared_ptr<arrow::DataType>& type,
                                                          Cursors& cursors) {
  const auto rows = static_cast<std::int64_t>(cursors.size());
  auto offsets = FUSED_ARROW_TRY("rows", arrow::AllocateBuffer((rows + 1) * static_cast<std::int64_t>(sizeof(Offset))));
  auto* offset = reinterpret_cast<Offset*>(offsets->mutable_data());
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < cursors.size(); ++i) {
    std::uint32_t size;
    std::memcpy(&size, cursors[i], 4);
    offset[i] = static_cast<Offset>(total);
    total += size;
  }
  if (total > static_cast<std::uint64_t>(std::numeric_limits<Offset>::max()))
    return fail(ErrorKind::too_large, "a column of a chunk has " + std::to_string(total) + " bytes");
  offset[rows] = static_cast<Offset>(total);
  auto bytes = FUSED_ARROW_TRY("rows", arrow::AllocateBuffer(static_cast<std::int64_t>(total)));
  std::uint8_t* at = bytes->mutable_data();
  for (const std::uint8_t*& cursor : cursors) {
    std::uint32_t size;
    std::memcpy(&size, cursor, 4);
    std::memcpy(at, cursor + 4, size);
    at += size;
    cursor += 4 + size;
  }
  return arrow::ArrayData::Make(type, rows, {nullptr, std::move(offsets), std::move(bytes)}, 0);
}

Result<std::shared_ptr<arrow::ArrayData>> unpack_nested(const std::shared_ptr<arrow::DataType>& type,
                                                        const std::shared_ptr<arrow::DataType>& plain,
                                                        Cursors& cursors) {
  auto builder = FUSED_ARROW_TRY("rows", arrow::MakeBuilder(plain));
  for (const std::uint8_t*& cursor : cursors) {
    std::uint32_t size;
    std::memcpy(&size, cursor, 4);
    FUSED_ARROW_TRY("rows", read_value(cursor + 4, *builder));
    cursor += 4 + size;
  }
  return retyped(FUSED_ARROW_TRY("rows", builder->Finish())->data(), type);
}

}  // namespace

Result<RowFormat> RowFormat::make(std::shared_ptr<arrow::Schema> schema) {
  RowFormat format;
  const int count = schema->num_fields();
  std::size_t offset = (static_cast<std::size_t>(count) + 7) / 8;
  for (const auto& field : schema->fields()) {
    Column column;
    column.type = field->type();
    column.plain = plain_type(*column.type);
    if (!column.plain)
      return fail(ErrorKind::invalid_argument, "column '" + field->name() + "' has type " + column.type->ToString() +
                                                   ", which cannot be ingested; leave it out with remove_cols, or "
                                                   "give it another type with schema");
    switch (column.plain->id()) {
      case arrow::Type::NA: column.kind = Kind::nothing; break;
      case arrow::Type::BOOL:
        column.kind = Kind::boolean;
        column.width = 1;
        break;
      case arrow::Type::BINARY: column.kind = Kind::variable; break;
      case arrow::Type::LARGE_BINARY: column.kind = Kind::large_variable; break;
      default:
        if (arrow::is_nested(column.plain->id())) {
          column.kind = Kind::nested;
          break;
        }
        column.width =
            static_cast<std::size_t>(static_cast<const arrow::FixedWidthType&>(*column.type).bit_width() / 8);
    }
    column.offset = offset;
    offset += column.width;
    format.columns_.push_back(std::move(column));
  }
  format.fixed_bytes_ = offset;
  format.blobs_.resize(format.columns_.size());
  format.schema_ = std::move(schema);
  return format;
}

Status RowFormat::blobs_of(const arrow::RecordBatch& batch) {
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    if (columns_[c].kind != Kind::nested) continue;
    Blobs& blobs = blobs_[c];
    blobs.bytes.clear();
    blobs.offsets.assign(1, 0);
    const auto values = arrow::MakeArray(retyped(batch.column_data(static_cast<int>(c)), columns_[c].plain));
    for (std::int64_t row = 0; row < values->length(); ++row) {
      append_value(*values, row, blobs.bytes);
      if (blobs.bytes.size() > kPackedBytesMax)
        return fail(ErrorKind::too_large, "column '" + schema_->field(static_cast<int>(c))->name() +
                                              "': more than 4 GB of nested values in a batch");
      blobs.offsets.push_back(static_cast<std::uint32_t>(blobs.bytes.size()));
    }
  }
  return {};
}

Status RowFormat::offsets(const arrow::RecordBatch& batch, PagedVector<std::uint32_t>& offsets) {
  const std::int64_t rows = batch.num_rows();
  FUSED_CHECK(blobs_of(batch));
  std::vector<std::uint64_t> sizes(static_cast<std::size_t>(rows), fixed_bytes_);
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    const arrow::ArrayData& data = *batch.column_data(static_cast<int>(c));
    if (columns_[c].kind == Kind::variable) add_sizes<std::int32_t>(data, rows, sizes);
    if (columns_[c].kind == Kind::large_variable) add_sizes<std::int64_t>(data, rows, sizes);
    if (columns_[c].kind == Kind::nested)
      for (std::size_t i = 0; i < sizes.size(); ++i) sizes[i] += 4 + blobs_[c].offsets[i + 1] - blobs_[c].offsets[i];
  }
  offsets.resize(sizes.size() + 1);
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    offsets[i] = static_cast<std::uint32_t>(total);
    total += sizes[i];
    if (total > kPackedBytesMax)
      return fail(ErrorKind::too_large, "a batch of " + std::to_string(rows) + " rows has more than 4 GB");
  }
  offsets.back() = static_cast<std::uint32_t>(total);
  return {};
}

void RowFormat::pack_column(int at, const arrow::ArrayData& data, std::int64_t from, std::int64_t to,
                            std::span<const std::uint32_t> offsets, std::uint8_t* target,
                            std::vector<std::uint8_t*>& cursors) {
  const Column& column = columns_[static_cast<std::size_t>(at)];
  if (data.buffers[0] && data.GetNullCount() != 0) pack_nulls(at, data, from, to, offsets.data(), target);
  const auto fixed = [&](auto width) {
    const auto* values = data.GetValues<std::uint8_t>(1, 0) + static_cast<std::size_t>(data.offset) * width();
    pack_fixed<width()>(values, from, to, offsets.data(), target + column.offset);
  };
  switch (column.kind) {
    case Kind::nothing: return;
    case Kind::variable: return pack_variable<std::int32_t>(data, from, to, cursors);
    case Kind::large_variable: return pack_variable<std::int64_t>(data, from, to, cursors);
    case Kind::boolean:
      for (std::int64_t i = from; i < to; ++i)
        target[offsets[static_cast<std::size_t>(i)] + column.offset] =
            arrow::bit_util::GetBit(data.buffers[1]->data(), data.offset + i);
      return;
    case Kind::nested: {
      const Blobs& blobs = blobs_[static_cast<std::size_t>(at)];
      for (std::int64_t i = from; i < to; ++i) {
        std::uint8_t*& cursor = cursors[static_cast<std::size_t>(i - from)];
        const std::uint32_t begin = blobs.offsets[static_cast<std::size_t>(i)];
        const std::uint32_t size = blobs.offsets[static_cast<std::size_t>(i) + 1] - begin;
        std::memcpy(cursor, &size, 4);
        std::memcpy(cursor + 4, blobs.bytes.data() + begin, size);
        cursor += 4 + size;
      }
      return;
    }
    case Kind::fixed: break;
  }
  switch (column.width) {
    case 1: return fixed(std::integral_constant<std::size_t, 1>{});
    case 2: return fixed(std::integral_constant<std::size_t, 2>{});
    case 4: return fixed(std::integral_constant<std::size_t, 4>{});
    case 8: return fixed(std::integral_constant<std::size_t, 8>{});
    case 16: return fixed(std::integral_constant<std::size_t, 16>{});
    default: break;
  }
  const auto* values = data.GetValues<std::uint8_t>(1, 0);
  for (std::int64_t i = from; i < to; ++i)
    std::memcpy(target + offsets[static_cast<std::size_t>(i)] + column.offset,
                values + static_cast<std::size_t>(data.offset + i) * column.width, column.width);
}

void RowFormat::pack(const arrow::RecordBatch& batch, std::span<const std::uint32_t> offsets, std::uint8_t* target) {
  const std::size_t null_bytes = (columns_.size() + 7) / 8;
  std::vector<std::uint8_t*> cursors(kSlice);
  for (std::int64_t from = 0; from < batch.num_rows(); from += kSlice) {
    const std::int64_t to = std::min(from + kSlice, batch.num_rows());
    for (std::int64_t i = from; i < to; ++i) {
      std::uint8_t* row = target + offsets[static_cast<std::size_t>(i)];
      std::memset(row, 0, null_bytes);
      cursors[static_cast<std::size_t>(i - from)] = row + fixed_bytes_;
    }
    for (int c = 0; c < static_cast<int>(columns_.size()); ++c)
      pack_column(c, *batch.column_data(c), from, to, offsets, target, cursors);
  }
}

namespace {

// The bitmap of a column; null when all are there.
Result<std::shared_ptr<arrow::Buffer>> validity(std::span<const std::uint8_t* const> rows, std::size_t at,
                                                std::int64_t& nulls) {
  const std::size_t byte = at / 8;
  const auto bit = static_cast<std::uint8_t>(1U << (at % 8));
  nulls = 0;
  for (const std::uint8_t* row : rows) nulls += (row[byte] & bit) != 0;
  if (nulls == 0) return nullptr;
  auto bitmap = FUSED_ARROW_TRY("rows", arrow::AllocateEmptyBitmap(static_cast<std::int64_t>(rows.size())));
  for (std::size_t i = 0; i < rows.size(); ++i)
    if ((rows[i][byte] & bit) == 0) arrow::bit_util::SetBit(bitmap->mutable_data(), static_cast<std::int64_t>(i));
  return bitmap;
}

}  // namespace

Result<std::shared_ptr<arrow::RecordBatch>> RowFormat::unpack(std::span<const std::uint8_t* const> rows) const {
  const auto count = static_cast<std::int64_t>(rows.size());
  Cursors cursors(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) cursors[i] = rows[i] + fixed_bytes_;
  std::vector<std::shared_ptr<arrow::ArrayData>> arrays;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    const Column& column = columns_[c];
    std::shared_ptr<arrow::ArrayData> data;
    switch (column.kind) {
      case Kind::nothing: data = arrow::ArrayData::Make(column.type, count, {nullptr}, count); break;
      case Kind::variable: data = FUSED_TRY(unpack_variable<std::int32_t>(column.type, cursors)); break;
      case Kind::large_variable: data = FUSED_TRY(unpack_variable<std::int64_t>(column.type, cursors)); break;
      case Kind::nested: data = FUSED_TRY(unpack_nested(column.type, column.plain, cursors)); break;
      case Kind::boolean: {
        auto bits = FUSED_ARROW_TRY("rows", arrow::AllocateEmptyBitmap(count));
        for (std::size_t i = 0; i < rows.size(); ++i)
          if (rows[i][column.offset] != 0) arrow::bit_util::SetBit(bits->mutable_data(), static_cast<std::int64_t>(i));
        data = arrow::ArrayData::Make(column.type, count, {nullptr, std::move(bits)}, 0);
        break;
      }
      case Kind::fixed: {
        auto values = FUSED_ARROW_TRY("rows", arrow::AllocateBuffer(count * static_cast<std::int64_t>(column.width)));
        std::uint8_t* to = values->mutable_data();
        switch (column.width) {
          case 1: unpack_fixed<1>(rows, column.offset, to); break;
          case 2: unpack_fixed<2>(rows, column.offset, to); break;
          case 4: unpack_fixed<4>(rows, column.offset, to); break;
          case 8: unpack_fixed<8>(rows, column.offset, to); break;
          default:
            for (std::size_t i = 0; i < rows.size(); ++i)
              std::memcpy(to + i * column.width, rows[i] + column.offset, column.width);
        }
        data = arrow::ArrayData::Make(column.type, count, {nullptr, std::move(values)}, 0);
        break;
      }
    }
    if (column.kind != Kind::nested && column.kind != Kind::nothing) {
      std::int64_t nulls = 0;
      data->buffers[0] = FUSED_TRY(validity(rows, c, nulls));
      data->null_count = nulls;
    }
    arrays.push_back(std::move(data));
  }
  return arrow::RecordBatch::Make(schema_, count, std::move(arrays));
}

}  // namespace fused::ingest
