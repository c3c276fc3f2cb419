// One peer: reads requests one after the other, has each answered, writes the reply with one call to the system.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <optional>
#include <string>

#include "base/completion.hpp"
#include "http/body.hpp"
#include "http/dispatcher.hpp"
#include "http/limits.hpp"
#include "http/request_parser.hpp"

namespace fused {

// What the connections of a server share.
struct ServerContext {
  boost::asio::io_context& io;
  Dispatcher& dispatcher;
  const HttpLimits& limits;
  BodySpool& spool;
  SteadyTime now{};  // as of the last tick
  std::string date;  // for the Date header
  std::string server_name;
  bool draining = false;
  std::size_t inbound_bytes = 0;  // held by unfinished requests
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(ServerContext& context, boost::asio::ip::tcp::socket socket, std::string peer);
  ~Connection();

  boost::asio::awaitable<void> run();  // ends when the connection is closed
  void tick();                         // ends what is too slow
  void drain();                        // closes it if no request is under way
  void abandon();                      // the drain limit: what still runs is answered with 503
  const std::string& peer() const { return peer_; }

 private:
  enum class Phase { idle, header, body, handler, write, linger };

  boost::asio::awaitable<bool> serve_one();  // true: another request may follow
  boost::asio::awaitable<bool> read_header();
  boost::asio::awaitable<bool> read_body(Dispatcher::Admission& admission);
  boost::asio::awaitable<Status> keep_body(bool complete);  // on disk, where it is large
  boost::asio::awaitable<bool> fill();                      // more bytes; false: there will be none
  boost::asio::awaitable<void> refuse(Error error);
  boost::asio::awaitable<void> refuse(Reply reply);
  boost::asio::awaitable<void> linger();
  boost::asio::awaitable<bool> write(const Reply& reply, bool keep_alive);
  boost::asio::awaitable<bool> write_pieces(const Reply& reply);
  boost::asio::awaitable<bool> send(std::string_view head, std::string_view body);

  void enter(Phase phase);
  std::size_t send_now(std::string_view head, std::string_view body, bool& broken);
  void say_and_close(const Reply& reply);  // without waiting
  std::string_view unused() const { return {buffer_.get() + begin_, end_ - begin_}; }
  void consume(std::size_t bytes) { begin_ += bytes; }
  void make_room();
  void count_held();
  bool too_much_held() const;
  void watch(std::function<void()> gone);
  void start_background_read();
  void took(std::size_t bytes, bool failed);
  void close();

  ServerContext& context_;
  boost::asio::ip::tcp::socket socket_;
  std::string peer_;
  RequestParser parser_;
  Request request_;
  std::string head_;  // of the reply being written

  std::unique_ptr<char[]> buffer_;  // [begin_, end_) has been read and not been used
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0;
  std::size_t held_ = 0;  // of ServerContext::inbound_bytes

  Phase phase_ = Phase::idle;
  SteadyTime phase_begin_{};
  std::size_t phase_bytes_ = 0;  // moved within the phase
  int in_a_row_ = 0;
  bool ended_ = false;  // the peer has sent all it will
  bool expired_ = false;
  bool closed_ = false;
  bool in_pieces_ = false;  // the head is sent, pieces of the body come

  std::function<void()> gone_;  // Request::on_disconnect's
  bool reading_ = false;        // in the background, while a handler runs
  std::optional<Completion<bool>> background_;
};

}  // namespace fused
