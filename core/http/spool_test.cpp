// Large bodies: on disk while they arrive, whole for the endpoint, gone with the connection.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <boost/json/parse.hpp>
#include <csignal>
#include <filesystem>
#include <random>
#include <thread>

#include "base/ids.hpp"
#include "http/http_test_server.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

using testing::RawClient;
using testing::TestServer;

constexpr std::size_t kMebibyte = 1 << 20;
constexpr std::string_view kHead = "POST /echo HTTP/1.1\r\nHost: localhost\r\n";

std::string noise(std::size_t bytes) {
  std::mt19937_64 random(7);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

std::string chunked(std::string_view body, std::initializer_list<std::size_t> sizes) {
  std::string out = std::string(kHead) + "Transfer-Encoding: chunked\r\n\r\n";
  for (auto size = sizes.begin(); !body.empty(); size = size + 1 == sizes.end() ? sizes.begin() : size + 1) {
    const auto part = body.substr(0, *size);
    char line[20];
    std::snprintf(line, sizeof line, "%zx\r\n", part.size());
    out.append(line).append(part).append("\r\n");
    body.remove_prefix(part.size());
  }
  return out + "0\r\n\r\n";
}

class SpoolTest : public ::testing::Test {
 protected:
  TestServer::Options options() {
    init_random();
    TestServer::Options options;
    const auto echo = [this](Request& request) -> boost::asio::awaitable<Reply> {
      seen_spooled = request.body.is_spooled();
      seen_on_disk = server.server().spooled_bytes();
      co_return Reply::text(std::string(request.body.view()), "application/octet-stream");
    };
    options.rows = {{Method::post, "/echo", Access::open, echo, "echo"}};
    options.spool_folder = folder.path();
    options.adjust = [](Settings& settings) {
      settings.body_bytes_max = 20 * kMebibyte;
      settings.spool_bytes_max = 24 * kMebibyte;
    };
    return options;
  }
  std::int64_t on_disk() {
    std::int64_t bytes = 0;
    server.on_server([&] { bytes = server.server().spooled_bytes(); });
    return bytes;
  }
  bool comes_to(std::int64_t at_least, std::int64_t at_most) {
    for (int i = 0; i < 2'000; ++i) {
      const auto now = on_disk();
      if (now >= at_least && now <= at_most) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  static std::string with_length(std::size_t bytes) {
    return std::string(kHead) + "Content-Length: " + std::to_string(bytes) + "\r\n\r\n";
  }

  TestFolder folder;
  bool seen_spooled = false;
  std::int64_t seen_on_disk = 0;
  TestServer server{options()};
};

TEST_F(SpoolTest, ASmallBodyStaysInMemory) {
  const std::string body = noise(kMebibyte);
  const auto reply = testing::ask(server.port(), with_length(body.size()) + body);
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(reply.body == body);
  EXPECT_FALSE(seen_spooled);
}

TEST_F(SpoolTest, ALargeBodyIsReadFromDiskAsItWasSent) {
  for (const std::size_t bytes : {kMebibyte + 70'000, 5 * kMebibyte + 1, 20 * kMebibyte}) {
    const std::string body = noise(bytes);
    const auto reply = testing::ask(server.port(), with_length(bytes) + body);
    ASSERT_EQ(reply.status, 200) << reply.body.substr(0, 300);
    EXPECT_TRUE(reply.body == body) << bytes;
    EXPECT_TRUE(seen_spooled);
    EXPECT_EQ(seen_on_disk, static_cast<std::int64_t>(bytes));
  }
  EXPECT_TRUE(comes_to(0, 0)) << "the file is gone with its request";
}

TEST_F(SpoolTest, ChunksOfAnySizeMakeTheSameBody) {
  const std::string body = noise(3 * kMebibyte + 12'345);
  for (const auto sizes : {std::initializer_list<std::size_t>{1, 65'537, 3, 262'143}, {7'919}, {4 * kMebibyte}}) {
    const auto reply = testing::ask(server.port(), chunked(body, sizes));
    ASSERT_EQ(reply.status, 200) << reply.body.substr(0, 300);
    EXPECT_TRUE(reply.body == body);
    EXPECT_TRUE(seen_spooled);
  }
}

TEST_F(SpoolTest, TheNextRequestOfTheConnectionIsUnharmed) {
  RawClient client(server.port());
  const std::string body = noise(2 * kMebibyte);
  client.send(with_length(body.size()) + body + with_length(3) + "abc");
  EXPECT_TRUE(client.receive().body == body);
  EXPECT_EQ(client.receive().body, "abc");
  EXPECT_FALSE(seen_spooled);
}

TEST_F(SpoolTest, NoNameOfABodyIsSeenAndItsFileGoesWithTheConnection) {
  RawClient client(server.port());
  client.send(with_length(8 * kMebibyte) + noise(6 * kMebibyte));
  EXPECT_TRUE(comes_to(4 * kMebibyte, 6 * kMebibyte));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  client.close();
  EXPECT_TRUE(comes_to(0, 0));
}

TEST_F(SpoolTest, AChunkedBodyOverTheLimitIsToldBeforeTheRestIsRead) {
  RawClient client(server.port());
  client.send(std::string(kHead) + "Transfer-Encoding: chunked\r\n\r\n" + "4000000\r\n");
  const std::string piece = noise(kMebibyte);
  for (int i = 0; i < 21; ++i) client.send(piece);
  const auto reply = client.receive();
  EXPECT_EQ(reply.status, 413);
  EXPECT_NE(reply.body.find("20971520"), std::string::npos) << reply.body;
  EXPECT_TRUE(comes_to(0, 0));
}

TEST_F(SpoolTest, AllBodiesTogetherHaveABound) {
  RawClient first(server.port());
  first.send(with_length(18 * kMebibyte) + noise(17 * kMebibyte));
  ASSERT_TRUE(comes_to(16 * kMebibyte, 17 * kMebibyte));
  const auto refused = testing::ask(server.port(), with_length(12 * kMebibyte) + noise(12 * kMebibyte));
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.body.find("25165824"), std::string::npos) << refused.body;
  first.send(noise(kMebibyte));
  EXPECT_EQ(first.receive().status, 200) << "who was first is not harmed";
}

TEST_F(SpoolTest, AFullDiskIs507InTheOneShape) {
  // The kernel's limit of a file's size ends a write as a full disk does.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{2 * kMebibyte, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto reply = testing::ask(server.port(), with_length(6 * kMebibyte) + noise(6 * kMebibyte));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(reply.status, 507) << reply.body;
  const auto shape = boost::json::parse(reply.body).as_object();
  EXPECT_EQ(shape.at("error_type").as_string(), "storage_full");
  EXPECT_EQ(std::string(shape.at("request_id").as_string()), reply.header("x-request-id"));
  EXPECT_TRUE(comes_to(0, 0));
  EXPECT_EQ(testing::ask(server.port(), with_length(3) + "abc").body, "abc");
}

}  // namespace
}  // namespace fused
