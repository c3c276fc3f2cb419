// The harness of the tests that need a socket (http_test_server.hpp).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <charconv>
#include <future>

#include "http/http_test_server.hpp"

namespace fused::testing {
namespace {
constexpr int kWaitMs = 10'000;
}

TestServer::TestServer(Options options) {
  if (options.adjust) options.adjust(settings_);
  parts_.settings = &settings_;
  parts_.clock = &clock_;
  parts_.version = "test";
  parts_.spool_folder = std::move(options.spool_folder);
  parts_.authenticate = std::move(options.authenticate);
  dispatcher_ = std::make_unique<Dispatcher>(parts_, std::move(options.rows));
  server_ = std::make_unique<Server>(io_, *dispatcher_, options.limits);
  const auto port = server_->listen("127.0.0.1", 0);
  if (!port) std::abort();
  port_ = *port;
  thread_ = std::thread([this] { io_.run(); });
}

TestServer::~TestServer() {
  io_.stop();
  thread_.join();
}

void TestServer::on_server(const std::function<void()>& what) {
  std::promise<void> done;
  boost::asio::post(io_, [&] {
    what();
    done.set_value();
  });
  done.get_future().wait();
}

void TestServer::drain(std::chrono::seconds limit) {
  on_server([&] { boost::asio::co_spawn(io_, server_->drain(limit), boost::asio::detached); });
}

RawClient::RawClient(int port) : descriptor_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) close();
}
RawClient::~RawClient() { close(); }

void RawClient::close() {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}
void RawClient::shut_down_sending() { ::shutdown(descriptor_, SHUT_WR); }

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool RawClient::fill() {
  pollfd poll_for{descriptor_, POLLIN, 0};
  if (::poll(&poll_for, 1, kWaitMs) <= 0) return false;
  char bytes[65536];
  const auto got = ::recv(descriptor_, bytes, sizeof bytes, 0);
  if (got <= 0) return false;
  buffer_.append(bytes, static_cast<std::size_t>(got));
  return true;
}

bool RawClient::closed_by_server() {
  pollfd poll_for{descriptor_, POLLIN, 0};
  char byte = 0;
  while (::poll(&poll_for, 1, kWaitMs) > 0)
    if (::recv(descriptor_, &byte, 1, 0) <= 0) return true;
  return false;
}

std::string RawReply::header(std::string_view name) const {
  const auto line = "\r\n" + std::string(name) + ": ";
  const auto at = head.find(line);
  if (at == std::string::npos) return {};
  const auto begin = at + line.size();
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

RawReply RawClient::receive(bool head_only) {
  RawReply reply;
  std::size_t end = std::string::npos;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
    if (!fill()) {
      reply.closed = true;
      return reply;
    }
  reply.head = buffer_.substr(0, end + 2);
  buffer_.erase(0, end + 4);
  for (std::size_t at = reply.head.find("\r\n") + 2; at < reply.head.size();) {
    const auto colon = reply.head.find(':', at);
    for (; at < colon; ++at)
      reply.head[at] = static_cast<char>(std::tolower(static_cast<unsigned char>(reply.head[at])));
    at = reply.head.find("\r\n", at) + 2;
  }
  std::from_chars(reply.head.data() + 9, reply.head.data() + 12, reply.status);
  const auto length_text = reply.header("content-length");
  const std::size_t length = head_only || length_text.empty() ? 0 : std::stoul(length_text);
  while (buffer_.size() < length)
    if (!fill()) break;
  reply.body = buffer_.substr(0, length);
  buffer_.erase(0, length);
  reply.closed = reply.header("connection") == "close";
  return reply;
}

RawReply ask(int port, std::string_view request, bool head_only) {
  RawClient client(port);
  client.send(request);
  return client.receive(head_only);
}

std::string get(std::string_view target, std::string_view more_headers) {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(more_headers) + "\r\n";
}

Handler replies(std::string body, std::string content_type) {
  return [body, content_type](Request&) -> boost::asio::awaitable<Reply> { co_return Reply::text(body, content_type); };
}

}  // namespace fused::testing
