// Who may ask, from where, and in what shape replies travel: Host, CORS, access, ETag, compression, sandbox.
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <boost/json/parse.hpp>

#include "base/ids.hpp"
#include "http/access.hpp"
#include "http/compression.hpp"
#include "http/conditional.hpp"
#include "http/http_test_server.hpp"
#include "http/reply_head.hpp"
#include "http/request_id.hpp"
#include "http/security_headers.hpp"

namespace fused {
namespace {

using testing::ask;
using testing::get;
using testing::replies;
using testing::TestServer;

Actor actor_of(std::string_view authorization) {
  Actor actor;
  if (authorization == "Bearer owner") actor.kind = ActorKind::user, actor.role = Role::owner;
  if (authorization == "Bearer member") actor.kind = ActorKind::user, actor.role = Role::member;
  if (authorization == "Bearer share") actor.kind = ActorKind::share_token;
  if (authorization == "Bearer run") actor.kind = ActorKind::run;
  return actor;
}

std::string big_json() {
  std::string text = "[";
  for (int i = 0; i < 20'000; ++i) text += "{\"number\":" + std::to_string(i) + "},";
  return text + "null]";
}

class PolicyTest : public ::testing::Test {
 protected:
  static TestServer::Options options() {
    init_random();
    TestServer::Options options;
    options.rows = {
        {Method::get, "/open", Access::open, replies("{}"), "open"},
        {Method::get, "/user", Access::signed_in, replies("{}"), "user"},
        {Method::post, "/user", Access::signed_in, replies("{}"), "user_post"},
        {Method::get, "/run", Access::run_or_user, replies("{}"), "run"},
        {Method::get, "/owner", Access::owner, replies("{}"), "owner"},
        {Method::get, "/big", Access::open, replies(big_json()), "big"},
        {Method::get, "/small", Access::open, replies("{\"a\":1}"), "small"},
        {Method::get, "/png", Access::open, replies(std::string(5000, 'x'), "image/png"), "png"},
        {Method::get, "/server/v1/realtime-shared/{token}/run/file", Access::share_path, replies("{}"), "shared"},
        {Method::post, "/server/v1/realtime-shared/{token}/run/file", Access::share_path, replies("{}"), "shared_post"},
    };
    options.adjust = [](Settings& settings) {
      settings.allow_hosts = {"maps.example.org"};
      settings.cors_origins = {"https://app.example.org"};
    };
    options.authenticate = actor_of;
    return options;
  }
  TestServer server{options()};
  int status(std::string_view target, std::string_view more) { return ask(server.port(), get(target, more)).status; }
  int status_of_host(std::string_view host) {
    return ask(server.port(), "GET /open HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n").status;
  }
};

TEST_F(PolicyTest, OnlyOurOwnNamesAreAnswered) {
  for (const char* host : {"localhost", "LOCALHOST:1", "127.0.0.1:8783", "10.1.2.3", "[::1]", "[fe80::1]:80",
                           "maps.example.org", "MAPS.example.org:443"})
    EXPECT_EQ(status_of_host(host), 200) << host;
  for (const char* host : {"evil.com", "localhost.evil.com", "localhost.", "127.0.0.1.evil.com", "1.2.3", "127.0.0.01",
                           "256.1.1.1", "x.maps.example.org", "0x7f000001", "[::1", "[evil]"})
    EXPECT_TRUE(status_of_host(host) == 403 || status_of_host(host) == 400) << host << " " << status_of_host(host);
  EXPECT_EQ(status_of_host(""), 400);
  EXPECT_EQ(status_of_host("localhost:port"), 400);
}

TEST_F(PolicyTest, AGoodHostDoesNotLetTheNextBadOnePass) {
  testing::RawClient client(server.port());
  client.send(get("/open"));
  EXPECT_EQ(client.receive().status, 200);
  client.send("GET /open HTTP/1.1\r\nHost: evil.com\r\n\r\n");
  EXPECT_EQ(client.receive().status, 403);
}

TEST_F(PolicyTest, EveryRowAsksWhatItSays) {
  struct Case {
    const char* token;
    int open, run, user, owner;
  };
  for (const Case& c :
       {Case{"", 200, 401, 401, 401}, Case{"unknown", 200, 401, 401, 401}, Case{"share", 200, 403, 403, 403},
        Case{"run", 200, 200, 403, 403}, Case{"member", 200, 200, 200, 403}, Case{"owner", 200, 200, 200, 200}}) {
    const std::string header = *c.token ? "Authorization: Bearer " + std::string(c.token) + "\r\n" : "";
    EXPECT_EQ(status("/open", header), c.open) << c.token;
    EXPECT_EQ(status("/run", header), c.run) << c.token;
    EXPECT_EQ(status("/user", header), c.user) << c.token;
    EXPECT_EQ(status("/owner", header), c.owner) << c.token;
  }
}

TEST_F(PolicyTest, UnknownTokensAndNoneAnswerAlike) {
  auto none = ask(server.port(), get("/user", "X-Request-Id: a\r\n"));
  auto unknown = ask(server.port(), get("/user", "X-Request-Id: a\r\nAuthorization: Bearer nobody-knows\r\n"));
  EXPECT_EQ(none.body, unknown.body);
  EXPECT_EQ(none.header("www-authenticate"), unknown.header("www-authenticate"));
}

TEST_F(PolicyTest, AForbiddenBodyIsNotReadFirst) {
  const auto reply = ask(server.port(), "POST /user HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000\r\n\r\n");
  EXPECT_EQ(reply.status, 401);
  EXPECT_TRUE(reply.closed);
}

TEST_F(PolicyTest, SharedFunctionsAnswerEveryOrigin) {
  const std::string path = "/server/v1/realtime-shared/abc/run/file";
  EXPECT_EQ(ask(server.port(), get(path, "Origin: https://anywhere.net\r\n")).header("access-control-allow-origin"),
            "*");
  EXPECT_EQ(ask(server.port(), get("/server/v1/realtime-shared/abc/nowhere")).header("access-control-allow-origin"),
            "*");
  const auto reply = ask(server.port(), "OPTIONS " + path +
                                            " HTTP/1.1\r\nHost: localhost\r\nOrigin: https://anywhere.net\r\n"
                                            "Access-Control-Request-Method: POST\r\n"
                                            "Access-Control-Request-Headers: content-type\r\n\r\n");
  EXPECT_EQ(reply.status, 204);
  EXPECT_EQ(reply.header("access-control-allow-origin"), "*");
  EXPECT_EQ(reply.header("access-control-allow-headers"), "content-type");
  EXPECT_EQ(reply.header("access-control-allow-credentials"), "");
}

TEST_F(PolicyTest, OtherPathsAnswerOnlyOriginsOfTheSettings) {
  const std::string token = "Authorization: Bearer owner\r\n";
  const auto allowed = ask(server.port(), get("/user", token + "Origin: https://app.example.org\r\n"));
  EXPECT_EQ(allowed.header("access-control-allow-origin"), "https://app.example.org");
  EXPECT_NE(allowed.header("vary").find("Origin"), std::string::npos);
  const auto other = ask(server.port(), get("/user", token + "Origin: https://evil.com\r\n"));
  EXPECT_EQ(other.status, 200);
  EXPECT_EQ(other.header("access-control-allow-origin"), "");
  const auto asks_first = [&](std::string_view origin) {
    return ask(server.port(),
               "OPTIONS /user HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: POST\r\n"
               "Access-Control-Request-Headers: authorization\r\nOrigin: " +
                   std::string(origin) + "\r\n\r\n");
  };
  EXPECT_EQ(asks_first("https://evil.com").status, 403);
  EXPECT_EQ(asks_first("https://app.example.org").header("access-control-allow-headers"), "authorization");
}

TEST_F(PolicyTest, APageOfAnotherOriginChangesNothing) {
  const auto post = [&](std::string_view origin) {
    return ask(server.port(),
               "POST /user HTTP/1.1\r\nHost: localhost:8783\r\nAuthorization: Bearer owner\r\n"
               "Content-Length: 0\r\nOrigin: " +
                   std::string(origin) + "\r\n\r\n")
        .status;
  };
  EXPECT_EQ(post("https://evil.com"), 403);
  EXPECT_EQ(post("null"), 403);
  EXPECT_EQ(post("http://localhost"), 403);
  EXPECT_EQ(post("http://localhost:8783"), 200);
  EXPECT_EQ(post("https://app.example.org"), 200);
}

TEST_F(PolicyTest, OptionsSaysWhatAPathAnswers) {
  const auto reply = ask(server.port(), "OPTIONS /user HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(reply.status, 204);
  EXPECT_EQ(reply.header("allow"), "GET, HEAD, POST, OPTIONS");
  EXPECT_EQ(ask(server.port(), "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 204);
}

TEST_F(PolicyTest, WhatHasNotChangedIsNotSentAgain) {
  const auto first = ask(server.port(), get("/small"));
  const auto tag = first.header("etag");
  ASSERT_EQ(tag.size(), 34u);
  for (const std::string& names : {tag, "\"other\", " + tag, "W/" + tag, std::string("*")}) {
    const auto again = ask(server.port(), get("/small", "If-None-Match: " + names + "\r\n"));
    EXPECT_EQ(again.status, 304) << names;
    EXPECT_EQ(again.header("etag"), tag);
    EXPECT_EQ(again.body, "");
  }
  EXPECT_EQ(status("/small", "If-None-Match: \"other\"\r\n"), 200);
}

TEST_F(PolicyTest, LargeTextIsCompressedAsAsked) {
  const auto whole = big_json();
  for (const std::string coding : {"gzip", "br", "zstd"}) {
    const auto reply = ask(server.port(), get("/big", "Accept-Encoding: " + coding + "\r\n"));
    EXPECT_EQ(reply.header("content-encoding"), coding);
    EXPECT_LT(reply.body.size(), whole.size() / 4) << coding;
    EXPECT_NE(reply.header("vary").find("Accept-Encoding"), std::string::npos);
    EXPECT_TRUE(reply.header("etag").ends_with("-" + coding + "\""));
    const auto again =
        get("/big", "Accept-Encoding: " + coding + "\r\nIf-None-Match: " + reply.header("etag") + "\r\n");
    EXPECT_EQ(ask(server.port(), again).status, 304);
  }
  const auto zipped = ask(server.port(), get("/big", "Accept-Encoding: zstd\r\n")).body;
  std::string back(whole.size(), '\0');
  EXPECT_EQ(ZSTD_decompress(back.data(), back.size(), zipped.data(), zipped.size()), whole.size());
  EXPECT_EQ(back, whole);
  EXPECT_EQ(ask(server.port(), get("/big")).header("content-encoding"), "");
  EXPECT_EQ(ask(server.port(), get("/small", "Accept-Encoding: gzip\r\n")).header("content-encoding"), "");
  EXPECT_EQ(ask(server.port(), get("/png", "Accept-Encoding: gzip\r\n")).header("content-encoding"), "");
}

TEST_F(PolicyTest, HeadSaysWhatGetWouldSend) {
  for (const std::string more : {"", "Accept-Encoding: gzip\r\n"}) {
    const auto whole = ask(server.port(), get("/big", more));
    const auto head = ask(server.port(), "HEAD /big HTTP/1.1\r\nHost: localhost\r\n" + more + "\r\n", true);
    EXPECT_EQ(head.header("content-length"), std::to_string(whole.body.size()));
    EXPECT_EQ(head.header("etag"), whole.header("etag"));
  }
}

TEST(Negotiate, TakesTheBestThatIsAllowed) {
  EXPECT_EQ(negotiate("gzip, deflate"), Coding::gzip);
  EXPECT_EQ(negotiate("gzip, deflate, br, zstd"), Coding::zstd);
  EXPECT_EQ(negotiate("gzip;q=1.0, br;q=0.5"), Coding::gzip);
  EXPECT_EQ(negotiate("*"), Coding::zstd);
  EXPECT_EQ(negotiate("zstd;q=0, *;q=0.5"), Coding::br);
  EXPECT_EQ(negotiate("gzip;q=0"), std::nullopt);
  EXPECT_EQ(negotiate("identity"), std::nullopt);
  EXPECT_EQ(negotiate(""), std::nullopt);
  EXPECT_EQ(negotiate("gzip;q=x;;,,;"), std::nullopt);
}

TEST(Compress, GzipIsReadByZlib) {
  const std::string text(100'000, 'a');
  const auto small = compress(text, Coding::gzip);
  ASSERT_TRUE(small);
  std::string back(text.size(), '\0');
  z_stream stream{};
  ASSERT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(small->data()));
  stream.avail_in = static_cast<uInt>(small->size());
  stream.next_out = reinterpret_cast<Bytef*>(back.data());
  stream.avail_out = static_cast<uInt>(back.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  inflateEnd(&stream);
  EXPECT_EQ(back, text);
}

TEST(Compress, WhatDoesNotShrinkIsLeft) {
  std::string noise;
  for (int i = 0; i < 200; ++i) noise += new_token("").substr(0, 8);
  std::string bytes;
  for (std::size_t i = 0; i < noise.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(noise.substr(i, 2), nullptr, 16)));
  for (const auto coding : {Coding::gzip, Coding::br, Coding::zstd}) EXPECT_FALSE(compress(bytes, coding));
}

TEST(SandboxPolicy, StandsOnWhatBrowsersExecuteOnly) {
  for (const char* type :
       {"text/html", "TEXT/HTML; charset=utf-8", "image/svg+xml", "application/xml", "application/xhtml+xml"}) {
    Reply reply = Reply::text("x", type);
    reply.with("Content-Security-Policy", "default-src *");
    add_sandbox(reply);
    ASSERT_EQ(reply.headers.size(), 2u) << type;
    EXPECT_EQ(reply.headers[1].second, "sandbox allow-scripts allow-forms allow-popups allow-downloads");
    EXPECT_EQ(reply.headers[1].second.find("allow-same-origin"), std::string::npos);
  }
  for (const char* type : {"application/json", "image/png", "text/csv"}) {
    Reply reply = Reply::text("x", type);
    add_sandbox(reply);
    EXPECT_EQ(reply.headers.size(), 1u) << type;
  }
}

TEST(ReplyHead, AFunctionsHeadersCannotBreakTheMessage) {
  Reply reply = Reply::text("body", "text/plain");
  reply.with("x-good", "yes").with("x-bad", "a\r\nset-cookie: b").with("bad name", "x").with("Content-Length", "0");
  reply.with("transfer-encoding", "chunked")
      .with("Connection", "close")
      .with("x-nul", std::string("a\0b", 3))
      .with("", "x");
  std::string head;
  write_reply_head(reply, {.date = "D", .server = "S", .request_id = "R"}, head);
  EXPECT_EQ(head,
            "HTTP/1.1 200 OK\r\ndate: D\r\nserver: S\r\nx-request-id: R\r\nx-content-type-options: nosniff\r\n"
            "content-type: text/plain\r\nx-good: yes\r\nreferrer-policy: no-referrer\r\ncontent-length: 4\r\n\r\n");
  reply.status = 99;
  write_reply_head(reply, {}, head);
  EXPECT_TRUE(head.starts_with("HTTP/1.1 500"));
}

TEST(HttpDate, IsTheFormOfTheStandard) {
  EXPECT_EQ(http_date(WallTime(std::chrono::seconds(784111777))), "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST(RequestIds, AreUuidsAndTraceparentsAreChecked) {
  init_random();
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) {
    const auto id = new_request_id();
    EXPECT_TRUE(is_uuid(id)) << id;
    EXPECT_EQ(id[14], '4');
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), 1000u);
  EXPECT_TRUE(is_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
  for (const char* bad : {"", "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                          "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                          "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                          "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"})
    EXPECT_FALSE(is_traceparent(bad)) << bad;
}

}  // namespace
}  // namespace fused
