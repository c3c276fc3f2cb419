#include "ingest/read/pipeline.hpp"

#include <atomic>

#include "ingest/read/batches.hpp"
#include "result/frame.hpp"

namespace fused::ingest {

Pipeline::Pipeline(int threads, Progress& progress, const std::function<BatchTaker()>& make_taker)
    : queue_max_(static_cast<std::size_t>(threads)), progress_(progress) {
  for (int i = 0; i < threads; ++i)
    takers_.emplace_back([this, taker = make_taker()]() mutable { run(std::move(taker)); });
}

Pipeline::~Pipeline() { (void)finish(); }

Status Pipeline::put(RawBatch batch) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return error_ || queue_.size() < queue_max_; });
  if (progress_.stop && !error_) error_ = Error{ErrorKind::conflict, "the ingest was interrupted", ""};
  if (error_) {
    changed_.notify_all();
    return std::unexpected(*error_);
  }
  queue_.push_back(std::move(batch));
  changed_.notify_all();
  return {};
}

void Pipeline::fail_with(Error error) {
  std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
  changed_.notify_all();
}

Status Pipeline::finish() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  for (std::thread& taker : takers_) taker.join();
  takers_.clear();
  if (error_) return std::unexpected(*error_);
  return {};
}

void Pipeline::run(BatchTaker taker) {
  for (;;) {
    RawBatch next;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return error_ || closed_ || !queue_.empty(); });
      if (error_ || queue_.empty()) return;
      next = std::move(queue_.front());
      queue_.pop_front();
      changed_.notify_all();
    }
    Status taken;
    try {
      taken = taker.take(*next.batch, *next.source, next.first_row, next.order);
    } catch (const std::bad_alloc&) {
      taken = fail(ErrorKind::too_large, next.source->name + ": a batch does not fit into memory");
    } catch (const std::exception& error) {
      taken = fail(ErrorKind::unprocessable, next.source->name + ": " + error.what());
    }
    if (!taken) return fail_with(std::move(taken).error());
    progress_.rows += next.batch->num_rows();
  }
}

namespace {

Status read_piece(const Source& source, std::int64_t group, const TableColumns& table, Pipeline& pipeline) {
  const std::vector<std::string> columns = needed_columns(source, table);
  std::uint32_t part = 0;
  return read_group(source, group, columns,
                    [&](std::shared_ptr<arrow::RecordBatch> batch, std::int64_t first_row) -> Status {
                      const Order order{source.index, static_cast<std::uint32_t>(group), part++, 0};
                      return pipeline.put({std::move(batch), &source, first_row, order});
                    });
}

}  // namespace

Status read_files(std::span<const Source* const> sources, const TableColumns& table, int threads, Pipeline& pipeline) {
  std::vector<std::pair<const Source*, std::int64_t>> pieces;
  for (const Source* source : sources)
    for (std::int64_t group = 0; group < std::max<std::int64_t>(source->groups, source->groups < 0 ? 1 : 0); ++group)
      pieces.emplace_back(source, group);
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t at; (at = next++) < pieces.size();) {
      Status read;
      try {
        read = read_piece(*pieces[at].first, pieces[at].second, table, pipeline);
      } catch (const std::exception& error) {
        read = fail(ErrorKind::unprocessable, pieces[at].first->name + ": " + error.what());
      }
      if (!read) {
        pipeline.fail_with(std::move(read).error());
        return;
      }
    }
  };
  std::vector<std::thread> readers;
  const auto count = std::min(static_cast<std::size_t>(threads), pieces.size());
  for (std::size_t i = 0; i < count; ++i) readers.emplace_back(work);
  for (std::thread& reader : readers) reader.join();
  return {};
}

Status read_stream(arrow::RecordBatchReader& stream, const Source& source, Pipeline& pipeline) {
  std::int64_t row = 0;
  for (std::uint32_t part = 0;; ++part) {
    std::shared_ptr<arrow::RecordBatch> batch;
    FUSED_ARROW_CHECK(source.name, stream.ReadNext(&batch));
    if (!batch) return {};
    const std::int64_t rows = batch->num_rows();
    FUSED_CHECK(pipeline.put({std::move(batch), &source, row, {source.index, 0, part, 0}}));
    row += rows;
  }
}

}  // namespace fused::ingest
