// Reading on all cores: some threads decode pieces of files, others take the batches in.
#pragma once
#include <arrow/record_batch.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "ingest/measure/batch.hpp"
#include "ingest/progress.hpp"

namespace fused::ingest {

struct RawBatch {
  std::shared_ptr<arrow::RecordBatch> batch;
  const Source* source = nullptr;
  std::int64_t first_row = 0;
  Order order;
};

// A queue of few batches between threads; the first error ends all of it.
class Pipeline {
 public:
  // `make_taker` is called once for each taking thread.
  Pipeline(int threads, Progress& progress, const std::function<BatchTaker()>& make_taker);
  ~Pipeline();

  // Blocks while the queue is full. An error: another thread has failed (finish() says why), or a stop was asked for.
  Status put(RawBatch batch);
  void fail_with(Error error);
  // No more batches: waits for the takers. The first error of any thread.
  Status finish();

 private:
  void run(BatchTaker taker);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<RawBatch> queue_;
  std::size_t queue_max_;
  bool closed_ = false;
  std::optional<Error> error_;
  Progress& progress_;
  std::vector<std::thread> takers_;
};

// Every piece of these files, several at once.
Status read_files(std::span<const Source* const> sources, const TableColumns& table, int threads, Pipeline& pipeline);
// A stream of batches, as one piece.
Status read_stream(arrow::RecordBatchReader& stream, const Source& source, Pipeline& pipeline);

}  // namespace fused::ingest
