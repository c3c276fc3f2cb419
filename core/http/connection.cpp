#include "http/connection.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>

#include "http/reply_head.hpp"
#include "http/request_id.hpp"

namespace fused {
namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr std::size_t kBufferBytes = 8 << 10;
constexpr std::size_t kBufferBytesKept = 64 << 10;   // a larger buffer is given back after its request
constexpr std::size_t kReadAheadBytes = 64 << 10;    // of further requests, while a handler runs
constexpr std::size_t kRefusedBodyBytes = 64 << 10;  // read and dropped, to keep the connection
constexpr std::size_t kSendTurnBytes = 4 << 20;      // written before others have their turn

Reply late_reply(std::string message, std::string_view request_id) {
  auto late = Reply::error({ErrorKind::timeout, std::move(message), {}}, request_id);
  late.status = 408;
  return late;
}

Error held_error() {
  return {ErrorKind::unavailable, "the server holds as many unfinished requests as its memory allows; try again", {}};
}

}  // namespace

Connection::Connection(ServerContext& context, asio::ip::tcp::socket socket, std::string peer)
    : context_(context), socket_(std::move(socket)), peer_(std::move(peer)), parser_(context.limits) {}
Connection::~Connection() = default;

asio::awaitable<void> Connection::run() {
  const auto self = shared_from_this();
  while (co_await serve_one()) {
  }
  close();
  if (reading_) {  // its completion still writes into this object's buffer
    background_.emplace();
    co_await background_->wait();
  }
  context_.inbound_bytes -= std::exchange(held_, 0);
}

void Connection::close() {
  closed_ = true;
  error_code ignored;
  socket_.close(ignored);
}

void Connection::enter(Phase phase) {
  phase_ = phase;
  phase_begin_ = context_.now;
  phase_bytes_ = 0;
}

asio::awaitable<bool> Connection::serve_one() {
  request_ = Request{};
  request_.peer = peer_;
  parser_.begin(request_);
  enter(Phase::idle);
  if (capacity_ > kBufferBytesKept && begin_ == end_ && !reading_) buffer_.reset(), capacity_ = begin_ = end_ = 0;
  count_held();
  if (!co_await read_header()) co_return false;
  Dispatcher& dispatcher = context_.dispatcher;
  auto admission = dispatcher.admit(request_);
  if (parser_.has_body() && !co_await read_body(admission)) co_return false;

  enter(Phase::handler);
  request_.on_disconnect = [this](std::function<void()> gone) { watch(std::move(gone)); };
  const Reply reply = co_await dispatcher.answer(request_, admission);
  request_.on_disconnect = nullptr;
  gone_ = nullptr;
  if (closed_) {
    dispatcher.record(request_, admission, 499, 0, std::chrono::duration<double>(
        dispatcher.parts().clock->steady() - request_.received).count());
    co_return false;
  }
  const bool keep = parser_.keep_alive() && !context_.draining && !ended_;
  const bool sent = co_await write(reply, keep);
  const std::chrono::duration<double> took = dispatcher.parts().clock->steady() - request_.received;
  dispatcher.record(request_, admission, reply.status, reply.body.view.size(), took.count());
  co_return sent && keep;
}

asio::awaitable<bool> Connection::read_header() {
  for (;;) {
    if (begin_ < end_) {
      std::size_t used = 0;
      const auto step = parser_.feed(unused(), used);
      consume(used);
      if (phase_ == Phase::idle && parser_.started()) {
        enter(Phase::header);
        request_.received = context_.dispatcher.parts().clock->steady();
      }
      count_held();
      if (step == ParseStep::failed) {
        co_await refuse(parser_.error());
        co_return false;
      }
      if (step == ParseStep::header) break;
    }
    if (too_much_held()) {
      co_await refuse(held_error());
      co_return false;
    }
    in_a_row_ = 0;
    if (co_await fill()) continue;
    if (expired_) say_and_close(late_reply("the request's header did not arrive in time", {}));
    co_return false;
  }
  if (++in_a_row_ > context_.limits.requests_in_a_row) {
    in_a_row_ = 0;
    co_await asio::post(socket_.get_executor(), asio::use_awaitable);
  }
  co_return true;
}

// False: the connection has been answered and is to be closed.
asio::awaitable<bool> Connection::read_body(Dispatcher::Admission& admission) {
  const auto allowed = admission.refusal ? static_cast<std::int64_t>(kRefusedBodyBytes)
                       : admission.route && admission.route->body_bytes_max > 0 ? admission.route->body_bytes_max
                                                                                : context_.limits.body_bytes_max;
  const auto fits = parser_.limit_body(allowed);
  if (admission.refusal && (!fits || parser_.expects_continue())) {
    co_await refuse(std::move(*admission.refusal));
    co_return false;
  }
  if (!fits) {
    co_await refuse(fits.error());
    co_return false;
  }
  enter(Phase::body);
  if (parser_.expects_continue() && begin_ == end_ &&
      !co_await send("HTTP/1.1 100 Continue\r\n\r\n", {}))
    co_return false;
  for (;;) {
    if (begin_ < end_) {
      std::size_t used = 0;
      const auto step = parser_.feed(unused(), used);
      consume(used);
      count_held();
      if (step == ParseStep::done) co_return true;
      if (step == ParseStep::failed) {
        if (admission.refusal) co_await refuse(std::move(*admission.refusal));
        else co_await refuse(parser_.error());
        co_return false;
      }
    }
    if (too_much_held()) {
      co_await refuse(held_error());
      co_return false;
    }
    if (co_await fill()) continue;
    if (expired_) say_and_close(late_reply("the body did not arrive in time", request_.request_id));
    co_return false;
  }
}

// ---- bytes in

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
  const auto now = (capacity_ > kBufferBytes ? capacity_ : 0) + request_.body.capacity() + request_.target.capacity();
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
                            if (self->ended_) std::exchange(self->gone_, nullptr)();
                            else self->start_background_read();
                          });
}

// ---- bytes out

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

asio::awaitable<bool> Connection::write(const Reply& reply, bool keep_alive) {
  enter(Phase::write);
  write_reply_head(reply,
                   {.date = context_.date,
                    .server = context_.server_name,
                    .request_id = request_.request_id,
                    .keep_alive = keep_alive,
                    .say_keep_alive = !request_.header("connection").empty()},
                   head_);
  const bool bodiless = request_.method == Method::head || reply.status == 204 || reply.status == 304;
  co_return co_await send(head_, bodiless ? std::string_view{} : reply.body.view);
}

void Connection::say_and_close(const Reply& reply) {
  if (closed_) return;
  write_reply_head(reply,
                   {.date = context_.date, .server = context_.server_name, .request_id = request_.request_id, .keep_alive = false},
                   head_);
  bool broken = false;
  send_now(head_, reply.body.view, broken);
  close();
}

asio::awaitable<void> Connection::refuse(Error error) {
  if (request_.request_id.empty()) {
    const auto asked = request_.header("x-request-id");
    request_.request_id = is_request_id(asked) ? std::string(asked) : new_request_id();
  }
  return refuse(Reply::error(error, request_.request_id));
}

// Says no and closes. What the peer still sends is read for a while: closing at once would reset the connection and the
// answer would be lost on its way.
asio::awaitable<void> Connection::refuse(Reply reply) {
  Dispatcher::Admission admission;
  admission.route_index = context_.dispatcher.router().routes().size();
  const bool sent = co_await write(reply, false);
  const std::chrono::duration<double> took = context_.dispatcher.parts().clock->steady() - request_.received;
  context_.dispatcher.record(request_, admission, reply.status, reply.body.view.size(), took.count());
  if (sent) co_await linger();
}

asio::awaitable<void> Connection::linger() {
  enter(Phase::linger);
  error_code error;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, error);
  begin_ = end_ = 0;
  std::string().swap(request_.body);
  std::string().swap(request_.target);
  count_held();
  while (phase_bytes_ < context_.limits.linger_bytes_max && co_await fill()) begin_ = end_ = 0;
}

// ---- from outside

void Connection::tick() {
  const HttpLimits& limits = context_.limits;
  const auto fair = std::chrono::milliseconds(static_cast<std::int64_t>(phase_bytes_) * 1000 / limits.bytes_per_second_min);
  const auto age = context_.now - phase_begin_;
  error_code ignored;
  switch (phase_) {
    case Phase::idle:
      if (age > limits.idle) close();
      break;
    case Phase::header:
    case Phase::body:
      if (age <= (phase_ == Phase::header ? limits.header_grace : limits.body_grace) + fair) break;
      expired_ = true;
      socket_.cancel(ignored);
      break;
    case Phase::write:
      if (age > limits.write_grace + fair) close();
      break;
    case Phase::linger:
      if (age > limits.linger) close();
      break;
    case Phase::handler: break;  // runs have limits of their own
  }
}

void Connection::drain() {
  if (phase_ == Phase::idle && begin_ == end_) close();
}

void Connection::abandon() {
  if (phase_ == Phase::handler)
    say_and_close(Reply::error({ErrorKind::unavailable, "the server is stopping and this did not end in time; try again", {}},
                               request_.request_id));
  else
    close();
  if (gone_) std::exchange(gone_, nullptr)();
}

}  // namespace fused
