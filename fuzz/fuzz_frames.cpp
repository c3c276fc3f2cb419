// Any bytes from a worker's socket, in pieces: whole frames of ours or an error, and never more memory than is allowed.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <cstdlib>

#include "worker/frame_socket.hpp"

namespace {

constexpr std::uint64_t kNonce = 0x0123456789abcdef;
constexpr std::int64_t kBodyBytesMax = 1 << 20;

boost::asio::awaitable<void> read_all(fused::FrameSocket& frames, std::size_t sent) {
  std::size_t seen = 0;
  while (true) {
    const auto frame = co_await frames.read();
    if (!frame) break;
    seen += fused::kFrameHeadBytes + frame->header.size() + frame->body.view.size();
    if (frame->body.view.size() > std::size_t(kBodyBytesMax) || seen > sent) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > 100'000) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (const auto head =
          fused::decode_frame_head(std::string(bytes.substr(0, 24)).append(24, '\0').substr(0, 24), kNonce))
    if (fused::encode_frame_head(*head) != bytes.substr(0, 24)) std::abort();

  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
  {
    boost::asio::io_context io;
    fused::FrameSocket frames(io, ends[0], kNonce, kBodyBytesMax);
    boost::asio::co_spawn(io, read_all(frames, bytes.size()), boost::asio::detached);
    const std::size_t piece = 1 + std::size_t(data[0]) * 64;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      const auto part = bytes.substr(at, piece);
      if (::send(ends[1], part.data(), part.size(), MSG_NOSIGNAL) < 0) break;  // the reader has refused and closed
      io.poll();
    }
    ::close(ends[1]);
    io.run();
  }
  return 0;
}
