// The server on a real loopback socket: what it answers, what it refuses, and that it says why.
#include "http/server.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "base/ids.hpp"
#include "http/http_test_server.hpp"

namespace fused {
namespace {

using testing::ask;
using testing::get;
using testing::RawClient;
using testing::RawReply;
using testing::replies;
using testing::TestServer;

Handler echo() {
  return [](Request& request) -> boost::asio::awaitable<Reply> {
    co_return Reply::text(std::string(request.body.view()), "text/plain");
  };
}

class ServerTest : public ::testing::Test {
 protected:
  static TestServer::Options options() {
    init_random();
    TestServer::Options options;
    options.rows = {
        {Method::get, "/health", Access::open, replies(R"({"status":"ok"})"), "health"},
        {Method::post, "/echo", Access::open, echo(), "echo"},
    };
    options.adjust = [](Settings& settings) {
      settings.uri_bytes_max = 100'000;
      settings.body_bytes_max = 200'000;
    };
    return options;
  }
  TestServer server{options()};

  // Sends bytes and expects the one JSON shape with this status and type, and the connection's end.
  void expect_refused(std::string_view request, int status, std::string_view type, std::string_view says = {}) {
    RawClient client(server.port());
    client.send(request);
    const RawReply reply = client.receive();
    const std::string shown(request.substr(0, 120));
    ASSERT_EQ(reply.status, status) << shown << "\n" << reply.body;
    EXPECT_EQ(reply.header("content-type"), "application/json") << shown;
    const auto shape = boost::json::parse(reply.body).as_object();
    ASSERT_EQ(shape.size(), 4u) << reply.body;
    EXPECT_EQ(shape.at("error_type").as_string(), type) << shown;
    EXPECT_FALSE(shape.at("message").as_string().empty());
    EXPECT_FALSE(shape.at("detail").as_string().empty());
    EXPECT_EQ(std::string(shape.at("request_id").as_string()), reply.header("x-request-id")) << shown;
    EXPECT_NE(reply.body.find(says), std::string::npos) << reply.body;
    client.shut_down_sending();
    EXPECT_TRUE(client.closed_by_server()) << shown;
  }
};

TEST_F(ServerTest, AnswersAndKeepsTheConnection) {
  RawClient client(server.port());
  for (int i = 0; i < 3; ++i) {
    client.send(get("/health"));
    const auto reply = client.receive();
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, R"({"status":"ok"})");
    EXPECT_EQ(reply.header("x-content-type-options"), "nosniff");
    EXPECT_EQ(reply.header("referrer-policy"), "no-referrer");
    EXPECT_FALSE(reply.closed);
  }
}

TEST_F(ServerTest, AnswersPipelinedRequestsInOrder) {
  RawClient client(server.port());
  std::string requests;
  for (int i = 0; i < 100; ++i)
    requests += "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n" + std::to_string(100 + i);
  client.send(requests);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(client.receive().body, std::to_string(100 + i));
}

TEST_F(ServerTest, HeadHasTheLengthAndNoBody) {
  RawClient client(server.port());
  client.send("HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/health"));
  const auto head = client.receive(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header("content-length"), "15");
  EXPECT_EQ(client.receive().body, R"({"status":"ok"})");
}

TEST_F(ServerTest, ChunkedBodiesAreReadWhole) {
  EXPECT_EQ(ask(server.port(),
                "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3\r\nabc\r\n5;ext=1\r\ndefgh\r\n0\r\nTrailer: x\r\n\r\n")
                .body,
            "abcdefgh");
}

TEST_F(ServerTest, ARequestMayArriveByteByByte) {
  const std::string head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const auto& [chunks, body] :
       std::vector<std::pair<std::string, std::string>>{{"3\r\nabc\r\n0\r\n\r\n", "abc"},
                                                        {"0\r\n\r\n", ""},
                                                        {"0\r\nT: x\r\n\r\n", ""},
                                                        {"1\r\na\r\n0;b\r\nT: x\r\n\r\n", "a"}}) {
    RawClient client(server.port());
    for (const char c : head + chunks) {
      client.send({&c, 1});
      server.on_server([] {});  // time for it to see this byte alone
    }
    const auto reply = client.receive();
    EXPECT_EQ(reply.status, 200) << chunks;
    EXPECT_EQ(reply.body, body);
  }
}

TEST_F(ServerTest, ContinueIsSaidBeforeTheBodyAndOnlyWhereItIsWanted) {
  RawClient client(server.port());
  client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.receive().status, 100);
  client.send("body");
  EXPECT_EQ(client.receive().body, "body");
  client.send("POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.receive().status, 404);
}

TEST_F(ServerTest, ARefusedRequestWithASmallBodyKeepsTheConnection) {
  RawClient client(server.port());
  client.send("POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody" + get("/health"));
  EXPECT_EQ(client.receive().status, 404);
  EXPECT_EQ(client.receive().status, 200);
}

TEST_F(ServerTest, MalformedRequestsAreRefusedWithAReason) {
  const std::string host = "Host: localhost\r\n";
  for (const auto& request : std::vector<std::string>{
           "GET / HTTP/1.1\n" + host + "\r\n",  // bare line feed
           "GET / HTTP/1.1\r\nHost: localhost\n\r\n",
           "GET / HTTP/2.0\r\n" + host + "\r\n",
           std::string("GET /\r\n\r\n"),
           "GET / HTTP/1.1\r\n" + host + "A: b\r\n c\r\n\r\n",  // folded field
           "GET / HTTP/1.1\r\n" + host + "A : b\r\n\r\n",
           "GET / HTTP/1.1\r\n" + host + "A: b\x01\r\n\r\n",
           "GET / HTTP/1.1\r\n" + host + std::string("A: b\0c\r\n\r\n", 10),
           std::string("GET / HTTP/1.1\r\n\r\n"),  // no Host
           "GET / HTTP/1.1\r\n" + host + host + "\r\n",
           "POST /echo HTTP/1.1\r\n" + host + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           "POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
           "POST /echo HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
           "POST /echo HTTP/1.1\r\n" + host + "Content-Length: 3, 3\r\n\r\nabc",
           "POST /echo HTTP/1.1\r\n" + host + "Content-Length: -3\r\n\r\nabc",
           "POST /echo HTTP/1.1\r\n" + host + "Content-Length: 0x3\r\n\r\nabc",
           "POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
           "POST /echo HTTP/1.1\r\n" + host +
               "Transfer-Encoding: \x0b"
               "chunked\r\n\r\n0\r\n\r\n",
           "POST /echo HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           "POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
           "POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
           "POST /echo HTTP/1.1\r\n" + host + "Expect: a-miracle\r\nContent-Length: 1\r\n\r\na",
           std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + "\r\n\r\n",  // TLS at the wrong port
       })
    expect_refused(request, 400, "invalid_argument");
  expect_refused("BREW / HTTP/1.1\r\n" + host + "\r\n", 405, "method_not_allowed", "BREW");
}

TEST_F(ServerTest, TargetsThatCanBeReadTwoWaysAreRefused) {
  for (const auto& target :
       std::vector<std::string>{"/%zz", "/%0", "/%", "/a%00b", "/?a=%00", "/?a=%ff%fe", "/%c0%ae", "/../etc/passwd",
                                "/a/%2e%2e/b", "/a/./b", "/a%5cb", "/a\\b", "*", "health", "ftp://localhost/health"})
    expect_refused(get(target), 400, "invalid_argument");
  expect_refused(get("http://evil.example/health"), 400, "invalid_argument");
  EXPECT_EQ(ask(server.port(), get("http://localhost/health")).status, 200);
}

TEST_F(ServerTest, LimitsAreToldByName) {
  const std::string host = "Host: localhost\r\n";
  expect_refused(get("/health?a=" + std::string(150'000, 'x')), 414, "uri_too_long", "JSON body");
  expect_refused("GET /" + std::string(300'000, 'x'), 414, "uri_too_long");
  expect_refused("GET /" + std::string(110'000, 'x'), 414, "uri_too_long");
  EXPECT_EQ(ask(server.port(), get("/health?a=" + std::string(90'000, 'x'))).status, 200);
  expect_refused(get("/health", "A: " + std::string(40'000, 'x') + "\r\n"), 431, "header_too_large", "32768");
  expect_refused("GET / HTTP/1.1\r\n" + host + "A: " + std::string(100'000, 'x'), 431, "header_too_large");
  std::string many;
  for (int i = 0; i < 300; ++i) many += "A" + std::to_string(i) + ": b\r\n";
  expect_refused(get("/health", many), 431, "header_too_large");
  expect_refused("POST /echo HTTP/1.1\r\n" + host + "Content-Length: 10737418240\r\n\r\n", 413, "too_large", "200000");
  std::string chunks = "POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 30; ++i) chunks += "2710\r\n" + std::string(10'000, 'x') + "\r\n";
  expect_refused(chunks, 413, "too_large", "200000");
  expect_refused("POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3;" + std::string(40'000, 'x'),
                 400, "invalid_argument");
}

TEST_F(ServerTest, ABodyOfTenMegabytesTooManyIsToldAndNotReset) {
  RawClient client(server.port());
  const std::string mebibyte(1 << 20, 'x');
  client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10485760\r\n\r\n");
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(client.send(mebibyte)) << "the connection was reset after " << i << " MiB";
  EXPECT_EQ(client.receive().status, 413);
}

TEST_F(ServerTest, UnknownPathsAndMethodsAreToldInTheOneShape) {
  expect_refused(get("/nowhere"), 404, "not_found", "/nowhere");
  RawClient client(server.port());
  client.send("DELETE /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const auto reply = client.receive();
  EXPECT_EQ(reply.status, 405);
  EXPECT_EQ(reply.header("allow"), "GET, HEAD, OPTIONS");
}

TEST_F(ServerTest, TheCallersRequestIdIsKeptWhereItIsFit) {
  EXPECT_EQ(ask(server.port(), get("/health", "X-Request-Id: my-id.1\r\n")).header("x-request-id"), "my-id.1");
  for (const auto& bad : std::vector<std::string>{"a b", "../x", ".hidden", "\"", std::string(65, 'a')}) {
    const auto id = ask(server.port(), get("/health", "X-Request-Id: " + bad + "\r\n")).header("x-request-id");
    EXPECT_TRUE(is_uuid(id)) << bad << " → " << id;
  }
}

TEST_F(ServerTest, OldClientsAreServed) {
  const auto reply = ask(server.port(), "GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(reply.closed);
  const auto kept = ask(server.port(), "GET /health HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(kept.header("connection"), "keep-alive");
}

}  // namespace
}  // namespace fused
