// Time and memory: slow peers, peers that leave, stopping, too many connections, handlers that fail.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <future>

#include "base/completion.hpp"
#include "base/ids.hpp"
#include "http/http_test_server.hpp"

namespace fused {
namespace {

using testing::get;
using testing::RawClient;
using testing::replies;
using testing::TestServer;

// A handler that waits until it is let go, or until its caller has gone away.
struct Gate {
  std::promise<void> entered, gone;
  Completion<bool> open;
  Handler handler() {
    return [this](Request& request) -> boost::asio::awaitable<Reply> {
      if (request.on_disconnect)
        request.on_disconnect([this] {
          gone.set_value();
          open.set(false);
        });
      entered.set_value();
      const bool let_go = co_await open.wait();
      co_return Reply::json(let_go ? "{\"done\":true}" : "{\"done\":false}");
    };
  }
  void wait_entered() { ASSERT_EQ(entered.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready); }
  void wait_gone() { ASSERT_EQ(gone.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready); }
};

class LifetimeTest : public ::testing::Test {
 protected:
  Gate gate;
  HttpLimits limits{};
  std::unique_ptr<TestServer> server;
  void start() {
    init_random();
    TestServer::Options options;
    options.rows = {
        {Method::get, "/health", Access::open, replies("{}"), "health"},
        {Method::get, "/gate", Access::open, gate.handler(), "gate"},
        {Method::get, "/fails", Access::open,
         [](Request&) -> boost::asio::awaitable<Reply> {
           throw std::runtime_error("secret detail");
           co_return Reply{};
         },
         "fails"},
        {Method::get, "/large", Access::open, replies(std::string(32 << 20, 'x'), "application/octet-stream"), "large"},
        {Method::post, "/echo", Access::open, replies("{}"), "echo"}};
    options.limits = limits;
    server = std::make_unique<TestServer>(std::move(options));
  }
  std::size_t connections() {
    std::size_t count = 0;
    server->on_server([&] { count = server->server().connections(); });
    return count;
  }
  bool becomes(std::size_t count) {  // within ten seconds
    for (int i = 0; i < 1'000; ++i) {
      if (connections() == count) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
};

TEST_F(LifetimeTest, APeerThatLeavesIsNoticedWhileItsHandlerRuns) {
  start();
  RawClient client(server->port());
  client.send(get("/gate"));
  gate.wait_entered();
  client.close();
  gate.wait_gone();
}

TEST_F(LifetimeTest, APipelinedRequestIsNotTakenForLeaving) {
  start();
  RawClient client(server->port());
  client.send(get("/gate"));
  gate.wait_entered();
  client.send(get("/health"));
  server->on_server([] {});
  server->on_server([&] { gate.open.set(true); });
  EXPECT_EQ(client.receive().body, "{\"done\":true}");
  EXPECT_EQ(client.receive().body, "{}");
  client.send(get("/health"));
  EXPECT_EQ(client.receive().body, "{}");
}

TEST_F(LifetimeTest, LeavingAfterAPipelinedRequestIsNoticedToo) {
  start();
  RawClient client(server->port());
  client.send(get("/gate"));
  gate.wait_entered();
  client.send(get("/health"));
  client.close();
  gate.wait_gone();
}

TEST_F(LifetimeTest, AHandlerThatThrowsIsAFailureWithoutItsDetails) {
  start();
  const auto reply = testing::ask(server->port(), get("/fails"));
  EXPECT_EQ(reply.status, 500);
  EXPECT_EQ(reply.body.find("secret"), std::string::npos);
  EXPECT_NE(reply.body.find(reply.header("x-request-id")), std::string::npos);
}

TEST_F(LifetimeTest, SlowHeadersAndBodiesEndWithTheirDeadline) {
  limits.header_grace = limits.body_grace = std::chrono::milliseconds(300);
  start();
  RawClient header(server->port()), body(server->port());
  header.send("GET /health HT");
  body.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc");
  EXPECT_EQ(header.receive().status, 408);
  EXPECT_EQ(body.receive().status, 408);
  EXPECT_TRUE(header.closed_by_server());
}

TEST_F(LifetimeTest, DripsOfBytesDoNotMoveTheDeadline) {
  limits.header_grace = std::chrono::milliseconds(300);
  start();
  RawClient client(server->port());
  client.send("GET /health HTTP/1.1\r\n");
  ASSERT_TRUE(becomes(1));
  int drips = 0;
  for (; connections() == 1 && drips < 200; ++drips) {
    client.send("a: b\r\n");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_LT(drips, 200);
}

TEST_F(LifetimeTest, IdleConnectionsAreClosed) {
  limits.idle = std::chrono::milliseconds(200);
  start();
  RawClient client(server->port()), never_spoke(server->port());
  client.send(get("/health"));
  EXPECT_EQ(client.receive().status, 200);
  EXPECT_TRUE(client.closed_by_server());
  EXPECT_TRUE(never_spoke.closed_by_server());
}

TEST_F(LifetimeTest, APeerThatDoesNotReadItsReplyIsDropped) {
  limits.write_grace = std::chrono::milliseconds(300);
  limits.bytes_per_second_min = 1 << 30;
  start();
  RawClient client(server->port());
  client.send(get("/large"));
  ASSERT_TRUE(becomes(1));
  EXPECT_TRUE(becomes(0));
}

TEST_F(LifetimeTest, ALargeReplyArrivesWhole) {
  start();
  RawClient client(server->port());
  client.send(get("/large"));
  EXPECT_EQ(client.receive().body.size(), 32u << 20);
}

TEST_F(LifetimeTest, ConnectionsBeyondTheCapAreToldSo) {
  limits.connections_max = 3;
  start();
  std::vector<RawClient> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back(server->port());
    clients.back().send(get("/health"));
    EXPECT_EQ(clients.back().receive().status, 200);
  }
  EXPECT_EQ(RawClient(server->port()).receive().status, 503);
  clients.pop_back();
  ASSERT_TRUE(becomes(2));
  EXPECT_EQ(testing::ask(server->port(), get("/health")).status, 200);
}

TEST_F(LifetimeTest, OneAddressCannotTakeAllConnections) {
  limits.connections_per_ip_max = 1;
  start();
  RawClient first(server->port());
  first.send(get("/health"));
  EXPECT_EQ(first.receive().status, 200);
  EXPECT_EQ(RawClient(server->port()).receive().status, 429);
}

TEST_F(LifetimeTest, UnfinishedRequestsShareOneBudgetOfMemory) {
  limits.inbound_bytes_max = 3 << 19;
  start();
  const std::string head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
  RawClient first(server->port()), second(server->port());
  first.send(head + std::string(900'000, 'x'));
  std::size_t held = 0;
  const auto begin = std::chrono::steady_clock::now();
  while (held < 900'000 && std::chrono::steady_clock::now() - begin < std::chrono::seconds(5))
    server->on_server([&] { held = server->server().inbound_bytes(); });
  second.send(head + std::string(900'000, 'x'));
  EXPECT_EQ(second.receive().status, 503);
  EXPECT_EQ(testing::ask(server->port(), get("/health")).status, 200);
  first.send(std::string(100'000, 'x'));
  EXPECT_EQ(first.receive().status, 200);
}

TEST_F(LifetimeTest, DrainingLetsARunningRequestFinishAndClosesIdleOnes) {
  start();
  RawClient busy(server->port()), idle(server->port());
  idle.send(get("/health"));
  EXPECT_EQ(idle.receive().status, 200);
  busy.send(get("/gate"));
  gate.wait_entered();
  server->drain(std::chrono::seconds(30));
  EXPECT_TRUE(idle.closed_by_server());
  EXPECT_EQ(RawClient(server->port()).receive().status, 0);
  server->on_server([&] { gate.open.set(true); });
  const auto reply = busy.receive();
  EXPECT_EQ(reply.body, "{\"done\":true}");
  EXPECT_TRUE(reply.closed);
  EXPECT_TRUE(busy.closed_by_server());
}

TEST_F(LifetimeTest, AfterTheDrainLimitWhatStillRunsIsAnswered503) {
  start();
  RawClient client(server->port());
  client.send(get("/gate"));
  gate.wait_entered();
  server->drain(std::chrono::seconds(0));
  const auto reply = client.receive();
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.header("retry-after"), "1");
  gate.wait_gone();
}

}  // namespace
}  // namespace fused
