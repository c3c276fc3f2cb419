// A request's body: in memory while it is small; a larger one lies in a file of the data folder that has no name, so
// that it is gone with the request, the connection or the process. Copies share the file.
#pragma once
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace fused {

class SpoolFile;

class Body {
 public:
  Body() = default;
  Body(std::string text) : text_(std::move(text)) {}

  // All of it. Of a spooled body only after BodySpool::finish.
  std::string_view view() const;
  operator std::string_view() const { return view(); }
  const char* data() const { return view().data(); }
  std::size_t size() const;  // as far as it has arrived
  bool empty() const { return size() == 0; }
  bool is_spooled() const { return file_ != nullptr; }

  void drop() {  // and its memory: assigning an empty string would keep that
    std::string().swap(text_);
    file_.reset();
  }
  void reserve(std::size_t bytes) { text_.reserve(bytes); }
  void append(const char* bytes, std::size_t count) { text_.append(bytes, count); }
  std::size_t bytes_in_memory() const { return text_.size(); }  // not yet in the file
  std::size_t capacity_in_memory() const { return text_.capacity(); }

 private:
  friend class BodySpool;
  std::string text_;
  std::shared_ptr<SpoolFile> file_;
};

// Where large bodies lie while they are read and used. Writes happen on a thread of its own: a slow disk slows the
// senders of large bodies and nobody else.
class BodySpool {
 public:
  // `folder`: the data folder; empty: bodies stay in memory. `bytes_max`: of all spooled bodies at once.
  BodySpool(std::filesystem::path folder, std::int64_t bytes_max);
  ~BodySpool();

  bool is_on() const { return !folder_.empty(); }
  // Moves what `body` holds in memory into its file. storage_full when the disk is, unavailable beyond `bytes_max`.
  // `body` must stay where it is until then.
  boost::asio::awaitable<Status> store(Body& body);
  // Stores the rest and makes the whole readable.
  boost::asio::awaitable<Status> finish(Body& body);
  std::int64_t bytes() const { return used_->load(); }

 private:
  Result<std::shared_ptr<SpoolFile>> make_file();

  std::filesystem::path folder_;
  std::int64_t bytes_max_;
  std::shared_ptr<std::atomic<std::int64_t>> used_ = std::make_shared<std::atomic<std::int64_t>>(0);
  std::unique_ptr<boost::asio::thread_pool> writer_;  // made with the first file
};

}  // namespace fused
