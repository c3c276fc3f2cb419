// Geodata of any size becomes a table: read → measure → partition → write. One object is one ingest; its stages are
// called in order, by one thread. Nothing outside of the staging folder is touched before publish().
#pragma once
#include <arrow/record_batch.h>

#include <memory>
#include <string>
#include <vector>

#include "ingest/measure/batch.hpp"
#include "ingest/options.hpp"
#include "ingest/partition/partition.hpp"
#include "ingest/progress.hpp"
#include "ingest/read/pipeline.hpp"
#include "ingest/read/source.hpp"
#include "ingest/write/write_files.hpp"

namespace fused::ingest {

class Ingest {
 public:
  explicit Ingest(Options options);
  ~Ingest();

  // Inputs, in the order that numbers their rows. All are told of before the first is read.
  void add_source(Source source);
  std::vector<Source>& sources() { return sources_; }
  void set_subdivide(Subdivide subdivide) { subdivide_ = std::move(subdivide); }
  // The table's columns from those of all sources; `wanted` may be null.
  Status begin(const std::shared_ptr<arrow::Schema>& wanted);

  Status read_files();                                                       // all but streams
  Status read_stream(arrow::RecordBatchReader& stream, std::size_t source);  // one of them
  Status finish_reading();
  Status partition();
  Status write(Target& target);         // data files
  Status write_sample(Target& target);  // `_sample`, last

  const TableColumns& table() const { return table_; }
  const Counts& counts() const { return counts_; }
  const Partition& partitioned() const { return partition_; }
  const Written& written() const { return written_; }
  // What was written; of a dry run what would be: boxes of centroids, rows, files.
  std::vector<ChunkRow> chunks() const;
  Progress& progress() { return progress_; }
  std::string summary_json() const;

 private:
  void start_pipeline();

  Options options_;
  std::vector<Source> sources_;
  Subdivide subdivide_;
  TableColumns table_;
  std::unique_ptr<RowFormat> format_;
  std::unique_ptr<RowStore> store_;
  std::unique_ptr<Pipeline> pipeline_;
  Counts counts_;
  Keys keys_;
  Partition partition_;
  Written written_;
  Progress progress_;
  std::int64_t memory_at_start_ = 0;
};

}  // namespace fused::ingest
