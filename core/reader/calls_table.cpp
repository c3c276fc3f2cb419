#include "reader/calls_table.hpp"

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/builder_time.h>
#include <arrow/io/file.h>
#include <arrow/table.h>
#include <arrow/type.h>
#include <parquet/arrow/writer.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/text.hpp"
#include "batch/result_chunk.hpp"
#include "result/frame.hpp"

namespace fused::reader {
namespace {

constexpr std::int64_t kRowGroupRows = 65'536;
constexpr std::string_view kStatuses[] = {"pending", "running", "success", "error", "timeout", "cancelled"};

static_assert(std::size(kStatuses) == ResultChunk::kStatuses);

using Row = ResultChunk::Call;

Status damaged(std::size_t at) {
  return fail(ErrorKind::internal, "the results of the batch are damaged at byte " + std::to_string(at));
}

Status read_rows(std::string_view bytes, std::vector<Row>& rows) {
  std::size_t calls = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto chunk = ResultChunk::first_of(bytes.substr(at));
    if (!chunk) return damaged(at);
    calls += chunk->calls();
    at += chunk->bytes();
  }
  rows.reserve(calls);  // grown by doubling it would need twice the memory
  for (std::size_t at = 0; at < bytes.size();) {
    const auto chunk = ResultChunk::first_of(bytes.substr(at));
    if (!chunk || !chunk->for_each([&](const Row& row) { rows.push_back(row); })) return damaged(at);
    at += chunk->bytes();
  }
  std::ranges::stable_sort(rows, {}, &Row::index);
  return {};
}

std::string hex(const char* bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * ResultChunk::kDigestBytes);
  for (std::size_t i = 0; i < ResultChunk::kDigestBytes; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    (text += kDigits[byte >> 4]) += kDigits[byte & 15];
  }
  return text;
}

std::shared_ptr<arrow::Schema> schema() {
  return arrow::schema(
      {arrow::field("index", arrow::int64(), false), arrow::field("arguments_sha256", arrow::utf8(), false),
       arrow::field("status", arrow::utf8(), false), arrow::field("attempts", arrow::int32(), false),
       arrow::field("started", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
       arrow::field("seconds", arrow::float64()), arrow::field("stdout", arrow::utf8()),
       arrow::field("stderr", arrow::utf8()), arrow::field("error", arrow::utf8()),
       arrow::field("result_bytes", arrow::int64(), false), arrow::field("streams_cut", arrow::boolean(), false)});
}

class Columns {
 public:
  arrow::Status add(const Row& row, std::int64_t& stream_bytes_left) {
    const CallRecord record = CallRecord::of(row.record).value_or(CallRecord{});
    ARROW_RETURN_NOT_OK(index_.Append(row.index));
    ARROW_RETURN_NOT_OK(digest_.Append(hex(row.digest)));
    ARROW_RETURN_NOT_OK(status_.Append(kStatuses[static_cast<std::size_t>(row.status)]));
    ARROW_RETURN_NOT_OK(attempts_.Append(row.attempts));
    const bool began = row.started > 0 && row.started < 1e11;
    ARROW_RETURN_NOT_OK(began ? started_.Append(std::llround(row.started * 1e6)) : started_.AppendNull());
    ARROW_RETURN_NOT_OK(began ? seconds_.Append(row.seconds) : seconds_.AppendNull());
    const auto bytes = static_cast<std::int64_t>(record.out.size() + record.err.size());
    const bool fits = bytes <= stream_bytes_left;
    if (fits) stream_bytes_left -= bytes;
    ARROW_RETURN_NOT_OK(fits ? text(out_, record.out) : out_.AppendNull());
    ARROW_RETURN_NOT_OK(fits ? text(err_, record.err) : err_.AppendNull());
    ARROW_RETURN_NOT_OK(record.kind == 'e' ? text(error_, record.body) : error_.AppendNull());
    ARROW_RETURN_NOT_OK(result_bytes_.Append(record.kind == 'w' ? static_cast<std::int64_t>(record.body.size()) : 0));
    return cut_.Append(!fits);
  }
  arrow::Result<std::shared_ptr<arrow::RecordBatch>> finish() {
    const std::int64_t rows = index_.length();
    arrow::ArrayVector arrays;
    for (arrow::ArrayBuilder* builder :
         std::initializer_list<arrow::ArrayBuilder*>{&index_, &digest_, &status_, &attempts_, &started_, &seconds_,
                                                     &out_, &err_, &error_, &result_bytes_, &cut_}) {
      ARROW_ASSIGN_OR_RAISE(auto array, builder->Finish());
      arrays.push_back(std::move(array));
    }
    return arrow::RecordBatch::Make(schema(), rows, std::move(arrays));
  }

 private:
  static arrow::Status text(arrow::StringBuilder& builder, std::string_view bytes) {
    return is_utf8(bytes) ? builder.Append(bytes) : builder.Append(valid_utf8(bytes));
  }

  arrow::Int64Builder index_, result_bytes_;
  arrow::StringBuilder digest_, status_, out_, err_, error_;
  arrow::Int32Builder attempts_;
  arrow::TimestampBuilder started_{arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), arrow::default_memory_pool()};
  arrow::DoubleBuilder seconds_;
  arrow::BooleanBuilder cut_;
};

arrow::Status write(const std::vector<Row>& rows, int table) {
  ARROW_ASSIGN_OR_RAISE(auto out, arrow::io::FileOutputStream::Open(table));
  parquet::WriterProperties::Builder properties;
  properties.compression(parquet::Compression::ZSTD);
  properties.disable_dictionary("arguments_sha256");
  ARROW_ASSIGN_OR_RAISE(
      auto writer, parquet::arrow::FileWriter::Open(*schema(), arrow::default_memory_pool(), out, properties.build()));
  std::int64_t stream_bytes_left = kBatchStreamBytesMax;
  for (std::size_t at = 0; at < rows.size();) {
    Columns columns;
    for (const std::size_t end = std::min<std::size_t>(rows.size(), at + kRowGroupRows); at < end; ++at)
      ARROW_RETURN_NOT_OK(columns.add(rows[at], stream_bytes_left));
    ARROW_ASSIGN_OR_RAISE(auto batch, columns.finish());
    ARROW_RETURN_NOT_OK(writer->WriteRecordBatch(*batch));
  }
  ARROW_RETURN_NOT_OK(writer->Close());
  return out->Close();
}

}  // namespace

Status write_calls_table(int results, std::uint64_t bytes, int table) {
  std::vector<Row> rows;
  void* at = bytes > 0 ? ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, results, 0) : nullptr;
  if (at == MAP_FAILED) return fail_errno("mmap of a batch's results", errno);
  Status done = read_rows({static_cast<const char*>(at), bytes}, rows);
  if (done)
    if (const auto written = write(rows, table); !written.ok())
      done = std::unexpected(result::from_arrow(written, "writing calls.parquet"));
  if (at) ::munmap(at, bytes);
  return done;
}

}  // namespace fused::reader
