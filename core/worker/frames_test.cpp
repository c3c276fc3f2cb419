// The same description as tests/contract/test_frames.py: tests/contract/frames.json.
#include "worker/frames.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/parse.hpp>
#include <cstring>
#include <fstream>

#include "storage/test_folder.hpp"
#include "worker/frame_socket.hpp"
#include "worker/queue.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

const json::object& cases() {
  static const json::value read = json::parse(file_text(FUSED_SOURCE_DIR "/tests/contract/frames.json"));
  return read.as_object();
}

std::string text(const json::value& of, std::string_view name) { return std::string(of.at(name).as_string()); }

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t at = 0; at + 1 < hex.size(); at += 2)
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(at, 2)), nullptr, 16));
  return bytes;
}

FrameKind kind_of(const json::value& of) {
  for (const auto& head : cases().at("heads").as_array())
    if (head.at("kind") == of.at("kind")) return static_cast<FrameKind>(head.at("kind_number").as_int64());
  ADD_FAILURE() << "no such kind: " << of.at("kind");
  return FrameKind::leave;
}

// Our end speaks frames, the other end is a plain descriptor.
struct Ends {
  asio::io_context io;
  int plain = -1;
  std::unique_ptr<FrameSocket> frames;
  std::optional<Result<Frame>> last;

  explicit Ends(std::uint64_t nonce, std::int64_t body_bytes_max = 1 << 20) {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    plain = pair[1];
    frames = std::make_unique<FrameSocket>(io, pair[0], nonce, body_bytes_max);
  }
  ~Ends() { close_plain(); }
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;
  void close_plain() {
    if (plain >= 0) ::close(std::exchange(plain, -1));
  }
  void begin_read() {
    last.reset();
    asio::co_spawn(io, reading(), asio::detached);
  }
  asio::awaitable<void> reading() { last = co_await frames->read(); }
  // The next frame, or what was said of it.
  Result<Frame> read() {
    begin_read();
    wait();
    return last ? std::move(*last) : fail(ErrorKind::timeout, "nothing came");
  }
  void wait() {
    io.restart();
    while (!last && io.run_one_for(std::chrono::seconds(60)) > 0) continue;
  }
  void put(std::string_view bytes) const {
    ASSERT_EQ(::send(plain, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  void put_with(std::string_view bytes, int descriptor) const {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    auto* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    ASSERT_EQ(::sendmsg(plain, &message, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
};

int memory_file(std::string_view content, int seals) {
  const int descriptor = ::memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  EXPECT_EQ(::write(descriptor, content.data(), content.size()), static_cast<ssize_t>(content.size()));
  EXPECT_EQ(::fcntl(descriptor, F_ADD_SEALS, seals), 0);
  return descriptor;
}

}  // namespace

TEST(Frames, SizesAreThoseOfTheDescription) {
  EXPECT_EQ(cases().at("head_bytes").as_int64(), static_cast<std::int64_t>(kFrameHeadBytes));
  EXPECT_EQ(cases().at("inline_body_bytes_max").as_int64(), static_cast<std::int64_t>(kFrameInlineBodyMax));
}

TEST(Frames, AHeadIsWrittenAndReadAsDescribed) {
  for (const auto& each : cases().at("heads").as_array()) {
    const std::string bytes = from_hex(text(each, "bytes"));
    const FrameHead head{kind_of(each), each.at("flags").to_number<std::uint16_t>(),
                         each.at("header_length").to_number<std::uint32_t>(),
                         each.at("body_length").to_number<std::uint32_t>(), std::stoull(text(each, "nonce"))};
    EXPECT_EQ(encode_frame_head(head), bytes) << each;
    const auto read = decode_frame_head(bytes, head.nonce);
    ASSERT_TRUE(read) << each << read.error().message;
    EXPECT_EQ(read->kind, head.kind) << each;
    EXPECT_EQ(read->flags, head.flags) << each;
    EXPECT_EQ(read->header_length, head.header_length) << each;
    EXPECT_EQ(read->body_length, head.body_length) << each;
  }
}

TEST(Frames, WhatIsNoFrameOfOursIsRefused) {
  for (const auto& each : cases().at("refused").as_array())
    EXPECT_FALSE(decode_frame_head(from_hex(text(each, "bytes")), std::stoull(text(each, "nonce")))) << each;
  const std::string good = encode_frame_head({FrameKind::idle, 0, 2, 0, 42});
  EXPECT_FALSE(decode_frame_head(good.substr(1), 42));
  EXPECT_FALSE(decode_frame_head(encode_frame_head({FrameKind::idle, 0, kFrameHeaderBytesMax + 1, 0, 42}), 42));
}

TEST(Frames, AWholeFrameIsWrittenAndReadAsDescribed) {
  for (const auto& each : cases().at("frames").as_array()) {
    Ends ends(std::stoull(text(each, "nonce")));
    const std::string bytes = from_hex(text(each, "bytes"));
    const std::string body = from_hex(text(each, "body"));
    const auto writing = [&]() -> asio::awaitable<void> {
      const auto sent = co_await ends.frames->write(kind_of(each), text(each, "header"), body);
      EXPECT_TRUE(sent);
    };
    asio::co_spawn(ends.io, writing(), asio::detached);
    ends.io.run();
    std::string seen(4'096, '\0');
    seen.resize(static_cast<std::size_t>(::recv(ends.plain, seen.data(), seen.size(), 0)));
    EXPECT_EQ(seen, bytes) << each;
    ends.put(bytes);
    const auto frame = ends.read();
    ASSERT_TRUE(frame) << each << frame.error().message;
    EXPECT_EQ(frame->kind, kind_of(each));
    EXPECT_EQ(frame->header, text(each, "header"));
    EXPECT_EQ(frame->body.view, body);
  }
}

TEST(Frames, MayComeInAnyPieces) {
  Ends ends(42);
  std::string bytes;
  for (const auto& each : cases().at("frames").as_array()) bytes += from_hex(text(each, "bytes"));
  std::vector<Frame> read;
  ends.begin_read();
  for (std::size_t at = 0; at < bytes.size(); at += 7) {
    ends.put(std::string_view(bytes).substr(at, 7));
    ends.io.restart();
    while (ends.io.poll_one() > 0) {
      if (!ends.last) continue;
      ASSERT_TRUE(*ends.last) << ends.last->error().message;
      read.push_back(std::move(**ends.last));
      ends.begin_read();
    }
  }
  ASSERT_EQ(read.size(), cases().at("frames").as_array().size());
  for (std::size_t i = 0; i < read.size(); ++i)
    EXPECT_EQ(read[i].header, text(cases().at("frames").as_array()[i], "header"));
  ends.close_plain();
  ends.wait();
  ASSERT_FALSE(*ends.last);
  EXPECT_EQ(ends.last->error().message, "closed");
}

TEST(Frames, ALargeBodyComesInASealedMemoryFileAndNoOther) {
  const std::string body(kFrameInlineBodyMax + 1, 'x');
  const std::string head =
      encode_frame_head({FrameKind::result, kFrameBodyInMemfd, 2, static_cast<std::uint32_t>(body.size()), 42});
  const int sealed = memory_file(body, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  const int open = memory_file(body, F_SEAL_GROW);
  const int shorter = memory_file("short", F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  {
    Ends ends(42);
    ends.put_with(head + "{}", sealed);
    const auto frame = ends.read();
    ASSERT_TRUE(frame) << frame.error().message;
    EXPECT_EQ(frame->body.view, body);
  }
  const TestFolder folder;
  std::ofstream(folder.path() / "file") << body;
  const int on_disk = ::open((folder.path() / "file").c_str(), O_RDONLY | O_CLOEXEC);
  for (const int descriptor : {open, shorter, on_disk}) {
    Ends ends(42);
    ends.put_with(head + "{}", descriptor);
    const auto frame = ends.read();
    ASSERT_FALSE(frame);
    EXPECT_NE(frame.error().message.find("not sealed or not of the size"), std::string::npos);
  }
  Ends missing(42);
  missing.put(head + "{}");
  const auto frame = missing.read();
  ASSERT_FALSE(frame);
  EXPECT_NE(frame.error().message.find("memfd is missing"), std::string::npos);
  for (const int descriptor : {sealed, open, shorter, on_disk}) ::close(descriptor);
}

TEST(Frames, ALargeBodyOutsideAMemoryFileIsRefusedBeforeItIsRead) {
  Ends ends(42);
  ends.put(encode_frame_head({FrameKind::result, 0, 2, static_cast<std::uint32_t>(kFrameInlineBodyMax) + 1, 42}));
  const auto frame = ends.read();
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().kind, ErrorKind::too_large);
}

TEST(Frames, ABodyOverTheLimitIsRefusedBeforeItIsRead) {
  Ends ends(42, 1'000);
  ends.put(encode_frame_head({FrameKind::result, 0, 2, 1'001, 42}));
  const auto frame = ends.read();
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().kind, ErrorKind::too_large);
}

TEST(RunQueue, CallersTakeTurnsAndNestedRunsGoFirst) {
  RunQueue queue(10);
  Waiting a1{"a", false, {}}, a2{"a", false, {}}, b1{"b", false, {}}, n{"a", true, {}};
  for (auto* w : {&a1, &a2, &b1, &n}) queue.push(*w);
  EXPECT_EQ(queue.length(), 4u);
  EXPECT_EQ(queue.pop(false), &n);
  EXPECT_EQ(queue.pop(true), nullptr);
  EXPECT_EQ(queue.pop(false), &a1);
  EXPECT_EQ(queue.pop(false), &b1);
  EXPECT_EQ(queue.pop(false), &a2);
  EXPECT_EQ(queue.pop(false), nullptr);
}

TEST(RunQueue, IsFullAtItsLengthAndForgetsWhatIsRemoved) {
  RunQueue queue(2);
  Waiting a{"a", false, {}}, b{"b", false, {}};
  queue.push(a);
  queue.push(b);
  EXPECT_TRUE(queue.is_full());
  queue.remove(a);
  EXPECT_FALSE(queue.is_full());
  EXPECT_EQ(queue.pop(false), &b);
  EXPECT_EQ(queue.length(), 0u);
}

}  // namespace fused
