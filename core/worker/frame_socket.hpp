// Frames over one end of a Unix stream socket pair, without blocking the event loop.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "storage/file_descriptor.hpp"
#include "worker/frames.hpp"

namespace fused {

struct Frame {
  FrameKind kind{};
  std::string header;  // JSON
  Bytes body;
};

class FrameSocket {
 public:
  // Takes over `descriptor`. `body_bytes_max`: a larger body is refused before it is read.
  FrameSocket(boost::asio::io_context& io, int descriptor, std::uint64_t nonce, std::int64_t body_bytes_max);

  // The next frame; an Error when the peer closed ("closed"), or sent what is not a frame. One reader at a time.
  boost::asio::awaitable<Result<Frame>> read();
  // Whole frames, in call order; several coroutines may call it. With the first byte come `descriptors`, which stay the
  // caller's; a large body travels in a memory file where any come, as on the worker's side.
  boost::asio::awaitable<Status> write(FrameKind kind, std::string header, std::string_view body = {},
                                       std::span<const int> descriptors = {});
  void close();
  std::size_t unsent_bytes() const { return unsent_bytes_; }  // beside what is being sent

 private:
  boost::asio::awaitable<Status> fill(std::size_t bytes);  // until `buffer_` holds so many unread bytes
  Result<std::size_t> receive_some(char* to, std::size_t bytes);
  Result<Bytes> map_memfd(std::uint32_t length);
  struct Unsent {
    std::string bytes;
    std::vector<FileDescriptor> descriptors;  // with the first of them
  };
  boost::asio::awaitable<Status> send_all(const Unsent& unsent);

  boost::asio::local::stream_protocol::socket socket_;
  std::uint64_t nonce_;
  std::int64_t body_bytes_max_;
  std::string buffer_;
  std::size_t begin_ = 0;  // unread bytes are buffer_[begin_, end_)
  std::size_t end_ = 0;
  int received_memfd_ = -1;
  std::deque<Unsent> unsent_;  // what a slow worker has not taken yet, in order
  std::size_t unsent_bytes_ = 0;
  bool sending_ = false;
};

}  // namespace fused
