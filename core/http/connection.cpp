#include "http/connection.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "http/connection_limits.hpp"
#include "http/reply_head.hpp"
#include "http/request_id.hpp"

namespace fused {
namespace asio = boost::asio;
using boost::system::error_code;

namespace {

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
  if (context_.draining && begin_ == end_) co_return false;
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
    dispatcher.record(request_, admission, 499, 0,
                      std::chrono::duration<double>(dispatcher.parts().clock->steady() - request_.received).count());
    co_return false;
  }
  const bool keep = parser_.keep_alive() && !context_.draining && !ended_ && !reply.next_piece;
  bool sent = co_await write(reply, keep);
  if (sent && reply.next_piece && request_.method != Method::head) sent = co_await write_pieces(reply);
  const std::chrono::duration<double> took = dispatcher.parts().clock->steady() - request_.received;
  dispatcher.record(request_, admission, reply.status, reply.body.view.size(), took.count());
  co_return sent&& keep;
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
  if (parser_.expects_continue() && begin_ == end_ && !co_await send("HTTP/1.1 100 Continue\r\n\r\n", {}))
    co_return false;
  for (;;) {
    if (begin_ < end_) {
      std::size_t used = 0;
      const auto step = parser_.feed(unused(), used);
      consume(used);
      count_held();
      if (step != ParseStep::failed) {
        const Status kept = co_await keep_body(step == ParseStep::done);
        if (closed_) co_return false;
        if (!kept) {
          co_await refuse(kept.error());
          co_return false;
        }
        if (step == ParseStep::done) co_return true;
      } else {
        if (admission.refusal)
          co_await refuse(std::move(*admission.refusal));
        else
          co_await refuse(parser_.error());
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

asio::awaitable<Status> Connection::keep_body(bool complete) {
  const Body& body = request_.body;
  const auto in_memory_max =
      body.is_spooled() ? context_.limits.body_piece_bytes : context_.limits.body_in_memory_bytes_max;
  if (!context_.spool.is_on()) co_return Status();
  if (body.bytes_in_memory() > in_memory_max) {
    Status stored = co_await context_.spool.store(request_.body);
    count_held();
    if (!stored) co_return stored;
  }
  if (complete) co_return co_await context_.spool.finish(request_.body);
  co_return Status();
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

asio::awaitable<bool> Connection::write_pieces(const Reply& reply) {
  in_pieces_ = true;
  for (;;) {
    enter(Phase::handler);
    const std::string piece = co_await reply.next_piece();
    if (piece.empty()) co_return true;
    if (closed_) co_return false;
    enter(Phase::write);
    if (!co_await send(piece, {})) co_return false;
  }
}

void Connection::say_and_close(const Reply& reply) {
  if (closed_) return;
  write_reply_head(
      reply,
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
  request_.body.drop();
  std::string().swap(request_.target);
  count_held();
  while (phase_bytes_ < context_.limits.linger_bytes_max && co_await fill()) begin_ = end_ = 0;
}

// ---- from outside

void Connection::tick() {
  const HttpLimits& limits = context_.limits;
  const auto fair =
      std::chrono::milliseconds(static_cast<std::int64_t>(phase_bytes_) * 1000 / limits.bytes_per_second_min);
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
  if (phase_ == Phase::handler && !in_pieces_)
    say_and_close(
        Reply::error({ErrorKind::unavailable, "the server is stopping and this did not end in time; try again", {}},
                     request_.request_id));
  else
    close();
  if (gone_) std::exchange(gone_, nullptr)();
}

}  // namespace fused
