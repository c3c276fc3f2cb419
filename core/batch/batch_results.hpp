// What the calls of a batch have left, in the order in which they ended: chunks, each one answer of the results route.
// Chunks go to a file without a name in the data folder; in memory lies what was not written yet and, up to a bound,
// what will soon be asked for.
//
// A chunk is laid out as result_chunk.hpp says; SHA-256 of the arguments stand in the file and not in an answer.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/result.hpp"
#include "batch/call_arguments.hpp"
#include "batch/result_chunk.hpp"
#include "storage/file_descriptor.hpp"

namespace fused {

class BatchResults : public std::enable_shared_from_this<BatchResults> {
 public:
  static constexpr std::size_t kChunkBytes = 1 << 20;
  static constexpr std::size_t kChunkCalls = 16'384;
  static constexpr std::size_t kMemoryBytes = 8 << 20;      // of what lies in the file as well
  static constexpr std::size_t kUnwrittenBytes = 64 << 20;  // beyond it nothing more is collected

  // `disk`: the thread that writes and reads. Lives in a shared_ptr.
  BatchResults(boost::asio::io_context& io, boost::asio::thread_pool& disk, std::filesystem::path folder)
      : io_(io), disk_(disk), folder_(std::move(folder)) {}

  void add(const EndedCall& call, const ArgumentDigest& arguments, std::string_view record);
  void seal();  // what was added by now is a chunk
  bool has_unsealed() const { return !calls_.empty(); }
  SteadyTime first_unsealed() const { return first_unsealed_; }
  std::size_t unsealed_bytes() const { return records_.size(); }

  std::uint64_t chunks() const { return chunks_.size(); }
  // Chunk `number` < chunks(). internal: the disk failed.
  boost::asio::awaitable<Result<Bytes>> chunk(std::uint64_t number, bool with_digests = false);
  bool is_acknowledged() const { return acknowledged_ == chunks_.size() && calls_.empty(); }
  void acknowledge(std::uint64_t chunks);  // those before need not lie in memory any more

  bool is_behind() const { return unwritten_ > kUnwrittenBytes; }
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t unacknowledged_bytes() const {
    return acknowledged_ < chunks_.size() ? bytes_ - static_cast<std::uint64_t>(chunks_[acknowledged_].at) : 0;
  }
  const std::string& trouble() const { return trouble_; }  // why the disk did not take something; "" while it does
  std::function<void()> on_written;

  // When everything sealed is in the file: the file, or why it is not whole.
  boost::asio::awaitable<Result<int>> whole_file();

 private:
  struct Chunk {
    Bytes bytes;             // empty: only in the file
    std::size_t sent = 0;    // bytes of an answer
    std::size_t stored = 0;  // with the digests
    std::int64_t at = 0;     // in the file
    bool written = false;
  };
  Result<int> file();
  void write(std::uint64_t number);
  void written(std::uint64_t number, int problem);

  boost::asio::io_context& io_;
  boost::asio::thread_pool& disk_;
  std::filesystem::path folder_;
  std::shared_ptr<FileDescriptor> file_;
  std::vector<EndedCall> calls_;  // not sealed
  std::vector<std::uint32_t> lengths_;
  std::vector<ArgumentDigest> digests_;
  std::string records_;
  SteadyTime first_unsealed_{};
  std::deque<Chunk> chunks_;
  std::uint64_t acknowledged_ = 0;
  std::size_t in_memory_ = 0;  // written, kept to be asked for
  std::size_t unwritten_ = 0;
  std::uint64_t bytes_ = 0;
  std::string trouble_;
  std::vector<std::function<void()>> waiting_;  // for everything to be written
};

}  // namespace fused
