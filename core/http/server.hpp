// The listener and its connections.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "http/connection.hpp"
#include "http/dispatcher.hpp"
#include "http/limits.hpp"

namespace fused {

// Must live until its io_context has stopped for good.
class Server {
 public:
  // Limits that are settings are taken from the dispatcher's parts.
  Server(boost::asio::io_context& io, Dispatcher& dispatcher, HttpLimits limits = {});
  ~Server();

  // Binds and begins to accept. `host`: an address or a name; port 0: any free one. Returns the port. Errors name the
  // address and what to do.
  Result<int> listen(const std::string& host, int port);
  // Would `listen` find the address free? Asked before a start makes anything.
  static Status can_listen(const std::string& host, int port);
  // Refuses new connections, closes idle ones, lets requests under way finish within `limit`; what is left is answered
  // with 503 and its on_disconnect called. Returns when no connection is left or the limit has passed.
  boost::asio::awaitable<void> drain(std::chrono::seconds limit);

  std::size_t connections() const { return connections_.size(); }
  std::size_t inbound_bytes() const { return context_.inbound_bytes; }
  std::int64_t spooled_bytes() const { return spool_.bytes(); }
  const HttpLimits& limits() const { return limits_; }

 private:
  struct Listener;
  boost::asio::awaitable<void> accept_from(Listener& listener);
  boost::asio::awaitable<void> tick();
  void take(boost::asio::ip::tcp::socket socket, std::string peer);
  bool refuse_if_full(boost::asio::ip::tcp::socket& socket, const std::string& peer);
  void left(const std::shared_ptr<Connection>& connection);
  void update_time();

  boost::asio::io_context& io_;
  Dispatcher& dispatcher_;
  HttpLimits limits_;
  BodySpool spool_;
  ServerContext context_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections_;
  std::unordered_map<std::string, std::size_t> by_peer_;
  boost::asio::steady_timer ticker_;
  boost::asio::steady_timer drain_timer_;
  std::chrono::system_clock::time_point second_{};
  std::uint64_t shortages_ = 0;  // of descriptors or memory, when a connection was to be taken
};

}  // namespace fused
