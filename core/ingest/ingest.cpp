#include "ingest/ingest.hpp"

#include <boost/json.hpp>

#include "ingest/memory.hpp"
#include "ingest/partition/regions.hpp"
#include "ingest/resume.hpp"
#include "ingest/write/buckets.hpp"
#include "table/sample.hpp"

namespace fused::ingest {

Ingest::Ingest(Options options) : options_(std::move(options)), memory_at_start_(process_memory()) {}
Ingest::~Ingest() = default;

void Ingest::add_source(Source source) {
  source.index = static_cast<std::uint32_t>(sources_.size());
  sources_.push_back(std::move(source));
}

Status Ingest::begin(const std::shared_ptr<arrow::Schema>& wanted) {
  table_ = FUSED_TRY(table_columns(sources_, options_, wanted));
  for (Source& source : sources_)  // text is read as what it shall be, not cast from what it looked like
    if (source.kind == SourceKind::csv && wanted)
      for (const auto& field : wanted->fields())
        if (const int at = source.schema->GetFieldIndex(field->name()); at >= 0)
          source.schema = source.schema->SetField(at, field).ValueOr(source.schema);
  format_ = std::make_unique<RowFormat>(FUSED_TRY(RowFormat::make(table_.schema)));
  const MemoryPlan plan = plan_memory(options_, memory_at_start_);
  auto scratch = FUSED_TRY(Scratch::open(options_.staging, "", options_.scratch_limit));
  store_ = std::make_unique<RowStore>(std::move(scratch), plan.rows_and_keys, plan.keys,
                                      options_.partition.weight != Weight::rows, !options_.dry_run);
  std::int64_t rows = 0;
  for (const Source& source : sources_) rows = source.rows < 0 || rows < 0 ? -1 : rows + source.rows;
  progress_.begin(Stage::read, rows);
  return {};
}

void Ingest::start_pipeline() {
  if (pipeline_) return;
  pipeline_ = std::make_unique<Pipeline>(options_.threads, progress_, [this] {
    return BatchTaker(options_, table_, *format_, *store_, counts_, subdivide_);
  });
}

Status Ingest::read_files() {
  start_pipeline();
  std::vector<const Source*> files;
  for (const Source& source : sources_)
    if (source.kind != SourceKind::stream) files.push_back(&source);
  return ingest::read_files(files, table_, options_.threads, *pipeline_);
}

Status Ingest::read_stream(arrow::RecordBatchReader& stream, std::size_t source) {
  start_pipeline();
  return ingest::read_stream(stream, sources_[source], *pipeline_);
}

Status Ingest::finish_reading() {
  if (pipeline_) FUSED_CHECK(pipeline_->finish());
  pipeline_.reset();
  release_unused_memory();
  FUSED_CHECK(store_->seal());
  if (store_->rows() > 0) return {};
  const std::int64_t dropped = counts_.out_of_bounds;
  return fail(ErrorKind::unprocessable,
              dropped == 0
                  ? "the input has no rows"
                  : "all " + std::to_string(dropped) +
                        " rows lie outside of the world's bounds (longitude -180 … 180, latitude -90 … 90): "
                        "the CRS is probably not what the input says. Keep them with drop_out_of_bounds=False");
}

Status Ingest::partition() {
  progress_.begin(Stage::partition, static_cast<std::int64_t>(store_->rows()));
  const MemoryPlan plan = plan_memory(options_, memory_at_start_);
  partition_ =
      FUSED_TRY(make_partition(*store_, options_.partition, options_.threads, options_.staging, plan.keys, keys_));
  return {};
}

Status Ingest::write(Target& target) {
  std::unique_ptr<Buckets> buckets;
  if (!store_->in_memory()) {
    const MemoryPlan plan = plan_memory(options_, memory_at_start_);
    progress_.begin(Stage::distribute, static_cast<std::int64_t>(store_->rows()));
    buckets = std::make_unique<Buckets>(*store_, partition_, static_cast<std::uint64_t>(plan.bucket));
    release_unused_memory();
    FUSED_CHECK(buckets->distribute(options_.threads, plan.spread, true, progress_));
    release_unused_memory();
  }
  progress_.begin(Stage::write, static_cast<std::int64_t>(store_->rows()));
  WriteJob job{
      .options = options_,
      .table = table_,
      .format = *format_,
      .partition = partition_,
      .has_empty = counts_.without_geometry > 0,
      .rows = [&] { return buckets ? buckets->rows_of_file() : rows_in_memory(*store_, partition_, keys_); },
      .target = target,
      .done = FUSED_TRY(finished_files(options_)),
      .on_done = [&](std::uint32_t file, const WriteJob::Done& done) { return remember_file(options_, file, done); }};
  written_ = FUSED_TRY(write_files(job, progress_));
  store_->clear();
  free_memory(keys_.plain);
  free_memory(keys_.weighted);
  return {};
}

Status Ingest::write_sample(Target& target) {
  progress_.begin(Stage::publish, 0);
  const Status put = target.put(std::string(kSampleName), FUSED_TRY(sample_bytes(written_.chunks)));
  if (!put) return std::unexpected(storage_error(put.error()));
  return {};
}

std::vector<ChunkRow> Ingest::chunks() const {
  if (!options_.dry_run) return written_.chunks;
  const std::vector<Box> boxes = regions_of(partition_, keys_);
  std::vector<ChunkRow> planned;
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const Chunk& chunk = partition_.chunks[i];
    planned.push_back({file_id(options_, chunk.file), static_cast<std::int64_t>(i), boxes[i], 0, 0, 0,
                       static_cast<std::int64_t>(chunk.rows)});
  }
  return planned;
}

std::string Ingest::summary_json() const {
  boost::json::object all;
  all["rows_read"] = counts_.read.load();
  all["rows"] = store_ ? store_->rows() : 0;
  all["out_of_bounds"] = counts_.out_of_bounds.load();
  all["partly_outside"] = counts_.partly_outside.load();
  all["without_geometry"] = counts_.without_geometry.load();
  all["subdivided"] = counts_.subdivided.load();
  all["files"] = partition_.files;
  all["chunks"] = partition_.chunks.size();
  all["maximum_per_file"] = partition_.maximum_per_file;
  all["maximum_per_chunk"] = partition_.maximum_per_chunk;
  all["bytes"] = written_.bytes;
  all["row_bytes"] = store_ ? store_->bytes() : 0;
  all["in_memory"] = !store_ || store_->in_memory();
  all["scratch_bytes"] = store_ ? store_->scratch().used_max() : 0;
  if (table_.schema) {
    boost::json::array columns;
    for (const auto& field : table_.schema->fields())
      columns.push_back({{"name", field->name()}, {"type", field->type()->ToString()}});
    all["columns"] = std::move(columns);
    all["geometry"] = table_.schema->field(table_.geometry)->name();
  }
  boost::json::array rows;
  for (const Chunk& chunk : partition_.chunks) rows.push_back(chunk.rows);
  all["chunk_rows"] = std::move(rows);
  return boost::json::serialize(all);
}

}  // namespace fused::ingest
