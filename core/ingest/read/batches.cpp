#include "ingest/read/batches.hpp"

#include <arrow/ipc/reader.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>

#include <algorithm>

#include "ingest/read/files.hpp"
#include "result/frame.hpp"
#include "table/parquet_call.hpp"

namespace fused::ingest {
namespace {

Status each_batch(arrow::RecordBatchReader& reader, const Source& source, std::int64_t first_row, const SeeBatch& see) {
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    FUSED_ARROW_CHECK(source.name, reader.ReadNext(&batch));
    if (!batch) return {};
    first_row += batch->num_rows();
    FUSED_CHECK(see(batch, first_row - batch->num_rows()));
  }
}

Status read_parquet(const Source& source, std::int64_t group, const std::vector<std::string>& columns,
                    const SeeBatch& see) {
  const auto file = FUSED_TRY(open_file(source.path));
  return parquet_call(source.name, [&]() -> Status {
    parquet::ReaderProperties properties;
    properties.enable_buffered_stream();  // otherwise a whole column chunk is held
    properties.set_buffer_size(256 << 10);
    auto parquet_file = parquet::ParquetFileReader::Open(file, properties);
    const auto metadata = parquet_file->metadata();
    std::int64_t first_row = 0;
    for (int i = 0; i < group; ++i) first_row += metadata->RowGroup(i)->num_rows();
    std::vector<int> leaves;
    for (int i = 0; i < metadata->num_columns(); ++i)
      if (std::ranges::find(columns, metadata->schema()->GetColumnRoot(i)->name()) != columns.end())
        leaves.push_back(i);
    parquet::ArrowReaderProperties arrow_properties(false);
    arrow_properties.set_batch_size(kBatchRows);
    arrow_properties.set_pre_buffer(false);
    const auto reader = FUSED_ARROW_TRY(
        source.name,
        parquet::arrow::FileReader::Make(arrow::default_memory_pool(), std::move(parquet_file), arrow_properties));
    const auto batches = FUSED_ARROW_TRY(source.name, reader->GetRecordBatchReader({static_cast<int>(group)}, leaves));
    return each_batch(*batches, source, first_row, see);
  });
}

Status read_ipc(const Source& source, std::int64_t group, const SeeBatch& see) {
  const auto file = FUSED_TRY(open_file(source.path));
  if (source.groups < 0) {
    const auto reader = FUSED_ARROW_TRY(source.name, arrow::ipc::RecordBatchStreamReader::Open(file));
    return each_batch(*reader, source, 0, see);
  }
  const auto reader = FUSED_ARROW_TRY(source.name, arrow::ipc::RecordBatchFileReader::Open(file));
  const auto whole = FUSED_ARROW_TRY(source.name, reader->ReadRecordBatch(static_cast<int>(group)));
  FUSED_ARROW_CHECK(source.name, whole->Validate());
  for (std::int64_t row = 0; row < whole->num_rows(); row += kBatchRows)
    FUSED_CHECK(see(whole->Slice(row, kBatchRows), row));
  return {};
}

}  // namespace

Status read_group(const Source& source, std::int64_t group, const std::vector<std::string>& columns,
                  const SeeBatch& see) {
  switch (source.kind) {
    case SourceKind::parquet: return read_parquet(source, group, columns, see);
    case SourceKind::ipc: return read_ipc(source, group, see);
    case SourceKind::csv: return read_csv_group(source, group, columns, see);
    case SourceKind::stream: break;
  }
  return fail(ErrorKind::internal, source.name + " is a stream and has no pieces");
}

}  // namespace fused::ingest
