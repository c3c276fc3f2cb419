// Bytes in and out of a connection.
#include <sys/socket.h>
#include <sys/uio.h>

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>

#include "http/connection.hpp"
#include "http/connection_limits.hpp"

namespace fused {
namespace asio = boost::asio;
using boost::system::error_code;

void Connection::make_room() {
  if (begin_ == end_) begin_ = end_ = 0;
  const auto held = end_ - begin_;
  // A long body comes faster through larger reads.
  const bool long_body = phase_ == Phase::body && phase_bytes_ >= kBufferBytesKept && capacity_ < kBufferBytesKept;
  if (capacity_ - end_ >= kBufferBytes / 2 && !long_body) return;
  if (capacity_ - held < kBufferBytes / 2 || long_body) {
    const auto wanted = long_body ? kBufferBytesKept : std::max(kBufferBytes, 2 * capacity_);
    auto larger = std::make_unique_for_overwrite<char[]>(wanted);
    if (held > 0) std::memcpy(larger.get(), buffer_.get() + begin_, held);
    buffer_ = std::move(larger);
    capacity_ = wanted;
  } else {
    std::memmove(buffer_.get(), buffer_.get() + begin_, held);
  }
  begin_ = 0;
  end_ = held;
}

bool Connection::too_much_held() const {
  return context_.inbound_bytes > context_.limits.inbound_bytes_max && held_ > kRefusedBodyBytes;
}

void Connection::count_held() {
  const auto now =
      (capacity_ > kBufferBytes ? capacity_ : 0) + request_.body.capacity_in_memory() + request_.target.capacity();
  context_.inbound_bytes += now - held_;
  held_ = now;
}

void Connection::took(std::size_t bytes, bool failed) {
  end_ += bytes;
  phase_bytes_ += bytes;
  if (failed) ended_ = true;
}

asio::awaitable<bool> Connection::fill() {
  if (reading_) {
    background_.emplace();
    co_await background_->wait();
    background_.reset();
    co_return !ended_ || begin_ < end_;
  }
  if (ended_ || closed_) co_return false;
  make_room();
  error_code error;
  const auto bytes = co_await socket_.async_read_some(asio::buffer(buffer_.get() + end_, capacity_ - end_),
                                                      asio::redirect_error(asio::use_awaitable, error));
  took(bytes, static_cast<bool>(error));
  co_return !error;
}

// While a handler runs, the next bytes are read already: an end of the stream there means that nobody waits any more.
void Connection::watch(std::function<void()> gone) {
  gone_ = std::move(gone);
  if (ended_ || closed_) {
    asio::post(socket_.get_executor(), [self = shared_from_this()] {
      if (self->gone_) std::exchange(self->gone_, nullptr)();
    });
    return;
  }
  if (!reading_) start_background_read();
}

void Connection::start_background_read() {
  if (end_ - begin_ >= kReadAheadBytes) return;
  make_room();
  reading_ = true;
  socket_.async_read_some(asio::buffer(buffer_.get() + end_, capacity_ - end_),
                          [self = shared_from_this()](error_code error, std::size_t bytes) {
                            self->reading_ = false;
                            self->took(bytes, static_cast<bool>(error));
                            if (self->background_) return self->background_->set(true);
                            if (!self->gone_) return;
                            if (self->ended_)
                              std::exchange(self->gone_, nullptr)();
                            else
                              self->start_background_read();
                          });
}

std::size_t Connection::send_now(std::string_view head, std::string_view body, bool& broken) {
  iovec parts[2] = {{const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(body.data()), body.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = body.empty() ? 1 : 2;
  const auto sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent >= 0) return static_cast<std::size_t>(sent);
  broken = errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
  return 0;
}

asio::awaitable<bool> Connection::send(std::string_view head, std::string_view body) {
  std::size_t turn = 0;
  for (;;) {
    bool broken = false;
    auto sent = send_now(head, body.substr(0, kSendTurnBytes), broken);
    if (broken || closed_) co_return false;
    phase_bytes_ += sent;
    turn += sent;
    const bool all = sent == head.size() + std::min(body.size(), kSendTurnBytes);
    const auto of_head = std::min(sent, head.size());
    head.remove_prefix(of_head);
    body.remove_prefix(sent - of_head);
    if (head.empty() && body.empty()) co_return true;
    if (!all) {
      error_code error;
      co_await socket_.async_wait(asio::ip::tcp::socket::wait_write, asio::redirect_error(asio::use_awaitable, error));
      if (error || closed_) co_return false;
      turn = 0;
    } else if (turn >= kSendTurnBytes) {
      co_await asio::post(socket_.get_executor(), asio::use_awaitable);
      turn = 0;
    }
  }
}

}  // namespace fused
