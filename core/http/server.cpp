#include "http/server.hpp"

#include <sys/resource.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

#include "base/log.hpp"
#include "http/reply_head.hpp"

namespace fused {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::chrono::milliseconds kTick{250};
constexpr std::chrono::milliseconds kAcceptPause{100};
constexpr std::uint64_t kShortagesPerLine = 100;    // at one each kAcceptPause: a line each ten seconds
constexpr std::size_t kDescriptorsElsewhere = 256;  // workers' sockets and pipes, the database, log files

HttpLimits with_settings(HttpLimits limits, const Settings& settings) {
  limits.header_bytes_max = static_cast<std::size_t>(settings.header_bytes_max);
  limits.uri_bytes_max = static_cast<std::size_t>(settings.uri_bytes_max);
  limits.body_bytes_max = settings.body_bytes_max;
  rlimit descriptors{};
  if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0 && descriptors.rlim_cur != RLIM_INFINITY) {
    const std::size_t have = descriptors.rlim_cur;
    limits.connections_max =
        std::min(limits.connections_max, have > 2 * kDescriptorsElsewhere ? have - kDescriptorsElsewhere : have / 2);
  }
  return limits;
}

bool is_shortage(const error_code& error) {
  return error.value() == EMFILE || error.value() == ENFILE || error.value() == ENOBUFS || error.value() == ENOMEM;
}

std::string text_of(const tcp::endpoint& peer) {
  auto address = peer.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  return address.to_string();
}

}  // namespace

struct Server::Listener {
  explicit Listener(tcp::acceptor bound) : acceptor(std::move(bound)), pause(acceptor.get_executor()) {}
  tcp::acceptor acceptor;
  asio::steady_timer pause;
};

Server::Server(asio::io_context& io, Dispatcher& dispatcher, HttpLimits limits)
    : io_(io),
      dispatcher_(dispatcher),
      limits_(with_settings(limits, *dispatcher.parts().settings)),
      spool_(dispatcher.parts().spool_folder, dispatcher.parts().settings->spool_bytes_max),
      context_{.io = io,
               .dispatcher = dispatcher,
               .limits = limits_,
               .spool = spool_,
               .date = {},
               .server_name = "fused/" + dispatcher.parts().version},
      ticker_(io),
      drain_timer_(io) {
  update_time();
}
Server::~Server() = default;

void Server::update_time() {
  const Clock& clock = *dispatcher_.parts().clock;
  context_.now = clock.steady();
  const auto second = std::chrono::floor<std::chrono::seconds>(clock.now());
  if (second == second_) return;
  second_ = second;
  context_.date = http_date(second);
}

namespace {

Error no_listening(const std::string& host, int port, const error_code& error) {
  const bool taken = error.value() == EADDRINUSE;
  return {taken ? ErrorKind::conflict : ErrorKind::invalid_argument,
          "cannot listen on " + host + ":" + std::to_string(port) + ": " + error.message() +
              (taken ? "; stop what listens there, or choose another --port (0: any free one)" : ""),
          {}};
}

// The addresses of `host`, bound; nobody can connect yet.
Result<std::vector<tcp::acceptor>> bind_all(asio::io_context& io, const std::string& host, int port) {
  tcp::resolver resolver(io);
  error_code error;
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  const std::string where = host + ":" + std::to_string(port);
  if (error)
    return fail(ErrorKind::invalid_argument, "cannot listen on " + where + ": " + error.message() +
                                                 "; --host takes an address of this machine, 0.0.0.0 or :: for all");
  std::vector<tcp::acceptor> bound;
  for (const auto& entry : found) {
    auto endpoint = entry.endpoint();
    if (!bound.empty() && port == 0) endpoint.port(bound.front().local_endpoint().port());
    tcp::acceptor acceptor(io);
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error && endpoint.address().is_v6()) acceptor.set_option(asio::ip::v6_only(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (error) {
      // A name may stand for addresses that this machine does not have (::1 for localhost); the first must work.
      if (!bound.empty()) continue;
      return std::unexpected(no_listening(host, port, error));
    }
    bound.push_back(std::move(acceptor));
  }
  if (bound.empty()) return fail(ErrorKind::invalid_argument, "cannot listen on " + where + ": it has no address");
  return bound;
}

}  // namespace

Status Server::can_listen(const std::string& host, int port) {
  asio::io_context io;
  const auto bound = bind_all(io, host, port);
  return bound ? Status() : std::unexpected(bound.error());
}

Result<int> Server::listen(const std::string& host, int port) {
  std::vector<tcp::acceptor> bound = FUSED_TRY(bind_all(io_, host, port));
  for (tcp::acceptor& acceptor : bound) {
    error_code error;
    acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error && !listeners_.empty()) continue;
    if (error) return std::unexpected(no_listening(host, port, error));
    listeners_.push_back(std::make_unique<Listener>(std::move(acceptor)));
    asio::co_spawn(io_, accept_from(*listeners_.back()), asio::detached);
  }
  asio::co_spawn(io_, tick(), asio::detached);
  return listeners_.front()->acceptor.local_endpoint().port();
}

asio::awaitable<void> Server::accept_from(Listener& listener) {
  while (listener.acceptor.is_open()) {
    error_code error;
    tcp::endpoint peer;
    tcp::socket socket(io_);
    co_await listener.acceptor.async_accept(socket, peer, asio::redirect_error(asio::use_awaitable, error));
    if (!error) {
      take(std::move(socket), text_of(peer));
    } else if (is_shortage(error)) {
      // The waiting connections stay in the kernel's queue; trying again at once would only burn the processor.
      const std::string why = error.message();
      if (shortages_++ % kShortagesPerLine == 0)
        log_event(spdlog::level::warn, "accept failed", {{"error", std::string_view(why)}});
      if (auto* metrics = dispatcher_.metrics()) metrics->count_accept_shortage();
      listener.pause.expires_after(kAcceptPause);
      co_await listener.pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
    }
  }
}

// Too many connections, in all or of one address: says so without waiting.
bool Server::refuse_if_full(tcp::socket& socket, const std::string& peer) {
  const auto of_peer = by_peer_.find(peer);
  const bool of_one = of_peer != by_peer_.end() && of_peer->second >= limits_.connections_per_ip_max;
  if (!of_one && connections_.size() < limits_.connections_max) return false;
  const Error error =
      of_one ? Error{ErrorKind::too_many_requests,
                     "too many connections are open from " + peer + "; at most " +
                         std::to_string(limits_.connections_per_ip_max) + " may be",
                     {}}
             : Error{ErrorKind::unavailable,
                     "too many connections are open; at most " + std::to_string(limits_.connections_max) + " may be",
                     {}};
  const Reply reply = Reply::error(error, {});
  std::string bytes;
  write_reply_head(
      reply, {.date = context_.date, .server = context_.server_name, .request_id = {}, .keep_alive = false}, bytes);
  bytes.append(reply.body.view);
  ::send(socket.native_handle(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  error_code ignored;
  socket.shutdown(tcp::socket::shutdown_send, ignored);
  if (auto* metrics = dispatcher_.metrics()) metrics->count_refused_connection();
  return true;
}

void Server::take(tcp::socket socket, std::string peer) {
  if (refuse_if_full(socket, peer)) return;
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  ++by_peer_[peer];
  auto connection = std::make_shared<Connection>(context_, std::move(socket), std::move(peer));
  connections_.emplace(connection.get(), connection);
  asio::co_spawn(io_, connection->run(), [this, connection](std::exception_ptr failure) {
    if (failure) {
      try {
        std::rethrow_exception(failure);
      } catch (const std::exception& exception) {
        log_event(spdlog::level::err, "connection failed", {{"peer", connection->peer()}, {"what", exception.what()}});
      }
    }
    left(connection);
  });
}

void Server::left(const std::shared_ptr<Connection>& connection) {
  if (const auto found = by_peer_.find(connection->peer()); found != by_peer_.end() && --found->second == 0)
    by_peer_.erase(found);
  connections_.erase(connection.get());
  if (context_.draining && connections_.empty()) drain_timer_.cancel();
}

asio::awaitable<void> Server::tick() {
  for (error_code error; !error;) {
    update_time();
    for (const auto& [raw, connection] : connections_) connection->tick();
    if (auto* metrics = dispatcher_.metrics())
      metrics->set_connections(connections_.size(), context_.inbound_bytes, spool_.bytes());
    flush_log();
    ticker_.expires_after(kTick);
    co_await ticker_.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
}

asio::awaitable<void> Server::drain(std::chrono::seconds limit) {
  context_.draining = true;
  error_code error;
  for (const auto& listener : listeners_) {
    listener->acceptor.close(error);
    listener->pause.cancel();
  }
  for (const auto& [raw, connection] : connections_) connection->drain();
  drain_timer_.expires_after(limit);
  if (!connections_.empty()) co_await drain_timer_.async_wait(asio::redirect_error(asio::use_awaitable, error));
  // Calling abandon() may end a run, and that may end connections: the map is not to change under the loop.
  std::vector<std::shared_ptr<Connection>> left_over;
  for (const auto& [raw, connection] : connections_) left_over.push_back(connection);
  for (const auto& connection : left_over) connection->abandon();
  if (!left_over.empty())
    log_event(spdlog::level::warn, "drain limit reached",
              {{"connections", static_cast<std::int64_t>(left_over.size())}});
  ticker_.cancel();
}

}  // namespace fused
