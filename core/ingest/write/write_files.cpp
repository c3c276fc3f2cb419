#include "ingest/write/write_files.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

namespace fused::ingest {
namespace {

struct FileTask {
  std::uint32_t number = 0, first_chunk = 0, chunks = 0;
  std::uint64_t rows = 0;
};

// Largest first, so that no thread is left alone with a large one.
std::vector<FileTask> tasks_of(const Partition& partition) {
  std::vector<FileTask> tasks;
  for (std::uint32_t i = 0; i < partition.chunks.size(); ++i) {
    const Chunk& chunk = partition.chunks[i];
    if (tasks.empty() || tasks.back().number != chunk.file) tasks.push_back({chunk.file, i, 0, 0});
    ++tasks.back().chunks;
    tasks.back().rows += chunk.rows;
  }
  std::ranges::stable_sort(tasks, std::ranges::greater(), &FileTask::rows);
  return tasks;
}

// Files wait for the disk here, while the next ones are being encoded.
class Syncer {
 public:
  using Finish = std::function<Status()>;
  Syncer() : thread_([this] { run(); }) {}
  ~Syncer() { (void)finish(); }
  void add(Finish file) {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(file));
    changed_.notify_all();
  }
  Status finish() {
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
      changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
    return outcome_;
  }

 private:
  void run() {
    for (;;) {
      Finish file;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return closed_ || !queue_.empty(); });
        if (queue_.empty()) return;
        file = std::move(queue_.front());
        queue_.pop_front();
      }
      if (auto status = file(); !status && outcome_) outcome_ = std::move(status);
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Finish> queue_;
  bool closed_ = false;
  Status outcome_;
  std::thread thread_;
};

class Writers {
 public:
  Writers(WriteJob& job, Progress& progress)
      : job_(job),
        progress_(progress),
        tasks_(tasks_of(job.partition)),
        shape_(file_shape(job.table, job.options.write_covering, job.has_empty)) {
    written_.resize(job.partition.chunks.size());
  }

  Result<Written> run() {
    std::vector<std::thread> threads;
    const auto count = std::min(static_cast<std::size_t>(job_.options.threads), tasks_.size());
    for (std::size_t i = 0; i < count; ++i) threads.emplace_back([this] { work(); });
    for (std::thread& thread : threads) thread.join();
    if (auto synced = syncer_.finish(); !synced && !error_) error_ = storage_error(std::move(synced).error());
    if (error_) return std::unexpected(*error_);
    return Written{std::move(written_), bytes_};
  }

 private:
  void work() {
    auto rows = job_.rows();
    for (std::size_t at; (at = next_++) < tasks_.size();) {
      Status status;
      try {
        status = file(tasks_[at], *rows);
        if (!status)
          status = std::unexpected(status.error().within(file_id(job_.options, tasks_[at].number) + ".parquet"));
      } catch (const std::bad_alloc&) {
        status = fail(ErrorKind::too_large,
                      "a chunk does not fit into memory; give a smaller "
                      "partitioning_maximum_per_chunk");
      }
      if (status) continue;
      std::lock_guard lock(mutex_);
      if (!error_) error_ = storage_error(std::move(status).error());
      next_ = tasks_.size();
    }
  }

  Status file(const FileTask& task, FileRows& rows) {
    if (const auto done = job_.done.find(task.number); done != job_.done.end()) return take_over(task, done->second);
    const std::string id = file_id(job_.options, task.number);
    std::shared_ptr<TargetFile> target = FUSED_TRY(job_.target.create(id + ".parquet"));
    std::optional<FileWriter> writer;
    ChunkRows gathered;
    WriteJob::Done done;
    for (std::uint32_t i = 0; i < task.chunks; ++i) {
      if (progress_.stop) return fail(ErrorKind::conflict, "the ingest was interrupted");
      FUSED_CHECK(rows.chunk(task.first_chunk + i, gathered));
      MadeChunk chunk =
          FUSED_TRY(make_chunk(gathered.rows, gathered.bytes, job_.format, job_.table, shape_, job_.has_empty));
      if (!writer)
        writer = FUSED_TRY(FileWriter::open(target->stream(), job_.table, shape_, job_.options, *chunk.table));
      FUSED_CHECK(writer->write(chunk));
      chunk.summary.file_id = id;
      chunk.summary.chunk_id = i;
      done.chunks.push_back(std::move(chunk.summary));
      progress_.rows += static_cast<std::int64_t>(gathered.rows.size());
      target->begin_sync();
    }
    FUSED_CHECK(writer->close());
    writer.reset();
    syncer_.add([this, task, target, done = std::move(done)]() mutable -> Status {
      FUSED_CHECK(target->finish());
      done.bytes = target->bytes();
      FUSED_CHECK(job_.on_done(task.number, done));
      keep(task, done);
      return {};
    });
    return {};
  }

  Status take_over(const FileTask& task, const WriteJob::Done& done) {
    if (done.chunks.size() != task.chunks)
      return fail(ErrorKind::conflict, "a file of the interrupted ingest has " + std::to_string(done.chunks.size()) +
                                           " chunks instead of " + std::to_string(task.chunks) +
                                           "; begin anew without --resume");
    keep(task, done);
    progress_.rows += static_cast<std::int64_t>(task.rows);
    return {};
  }
  void keep(const FileTask& task, const WriteJob::Done& done) {
    std::lock_guard lock(mutex_);
    bytes_ += done.bytes;
    std::ranges::copy(done.chunks, written_.begin() + task.first_chunk);
  }

  WriteJob& job_;
  Progress& progress_;
  std::vector<FileTask> tasks_;
  FileShape shape_;
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  std::vector<ChunkRow> written_;
  std::int64_t bytes_ = 0;
  std::optional<Error> error_;
  Syncer syncer_;
};

}  // namespace

std::string file_id(const Options& options, std::uint32_t number) {
  return options.file_prefix + std::to_string(number);
}

Result<Written> write_files(WriteJob& job, Progress& progress) { return Writers(job, progress).run(); }

}  // namespace fused::ingest
