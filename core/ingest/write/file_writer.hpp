// One Parquet file of the table: a row group a chunk, zstd, statistics, page index, page checksums, GeoParquet 1.1.
#pragma once
#include <arrow/io/interfaces.h>
#include <parquet/arrow/writer.h>

#include <memory>
#include <string>

#include "ingest/options.hpp"
#include "ingest/write/chunk_columns.hpp"

namespace fused::ingest {

class FileWriter {
 public:
  // The first chunk decides which columns are worth a dictionary.
  static Result<FileWriter> open(std::shared_ptr<arrow::io::OutputStream> sink, const TableColumns& table,
                                 const FileShape& shape, const Options& options, const arrow::Table& first);
  Status write(const MadeChunk& chunk);
  Status close();  // the footer; the sink stays open

 private:
  const TableColumns* table_ = nullptr;
  const FileShape* shape_ = nullptr;
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
  GeometryTypes types_;
  Box box_;
  bool empty_ = true;
};

}  // namespace fused::ingest
