// A server on a free loopback port with rows of the test's choice, and a client that sends raw bytes: for tests.
#pragma once
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "http/server.hpp"

namespace fused::testing {

class TestServer {
 public:
  struct Options {
    std::vector<Route> rows;
    HttpLimits limits{};
    std::function<void(Settings&)> adjust;
    std::function<Actor(std::string_view)> authenticate;
    std::filesystem::path spool_folder{};
  };
  explicit TestServer(Options options);
  ~TestServer();
  int port() const { return port_; }
  // Runs on the server's thread and waits for it.
  void on_server(const std::function<void()>& what);
  Server& server() { return *server_; }
  Parts& parts() { return parts_; }
  // Begins to drain; the thread ends when that is over.
  void drain(std::chrono::seconds limit);

 private:
  Settings settings_;
  Clock clock_;
  Parts parts_;
  boost::asio::io_context io_;
  std::unique_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<Server> server_;
  int port_ = 0;
  std::thread thread_;
};

struct RawReply {
  int status = 0;
  std::string head;  // status line and header, names in lower case
  std::string body;
  bool closed = false;                              // by the server, right after it
  std::string header(std::string_view name) const;  // "" when absent
};

class RawClient {
 public:
  explicit RawClient(int port);
  ~RawClient();
  RawClient(RawClient&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)), buffer_(std::move(other.buffer_)) {}
  bool send(std::string_view bytes);
  // The next reply; waits at most ten seconds. status 0: the server closed without one. `head_only`: of HEAD.
  RawReply receive(bool head_only = false);
  bool closed_by_server();  // waits at most ten seconds for the end of the stream
  void shut_down_sending();
  void close();

 private:
  bool fill();
  int descriptor_ = -1;
  std::string buffer_;
};

// One request on a connection of its own.
RawReply ask(int port, std::string_view request, bool head_only = false);
std::string get(std::string_view target, std::string_view more_headers = {});

Handler replies(std::string body, std::string content_type = "application/json");

}  // namespace fused::testing
