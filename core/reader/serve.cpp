#include "reader/serve.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "worker/frames.hpp"

namespace fused::reader {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;

// False at the end of the stream.
Result<bool> receive_all(int socket, char* to, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes;) {
    const ssize_t count = ::recv(socket, to + at, bytes - at, 0);
    if (count == 0) return false;
    if (count < 0 && errno != EINTR) return fail_errno("recv", errno);
    if (count > 0) at += static_cast<std::size_t>(count);
  }
  return true;
}

// `memfd` travels with the first byte; -1: none.
Status send_all(int socket, std::string_view bytes, int memfd) {
  while (!bytes.empty()) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (memfd >= 0) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &memfd, sizeof memfd);
    }
    const ssize_t count = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    if (count < 0 && errno != EINTR) return fail_errno("sendmsg", errno);
    if (count <= 0) continue;
    bytes.remove_prefix(static_cast<std::size_t>(count));
    memfd = -1;
  }
  return {};
}

Result<int> sealed(std::string_view body) {
  const int memfd = ::memfd_create("table", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (memfd < 0) return fail_errno("memfd_create", errno);
  for (std::size_t at = 0; at < body.size();) {
    const ssize_t count = ::write(memfd, body.data() + at, body.size() - at);
    if (count < 0) {
      const int error = errno;
      if (error == EINTR) continue;
      ::close(memfd);
      return fail_errno("write to a memfd", error);
    }
    at += static_cast<std::size_t>(count);
  }
  if (::fcntl(memfd, F_ADD_SEALS, kSeals) != 0) {
    ::close(memfd);
    return fail_errno("seal a memfd", errno);
  }
  return memfd;
}

Status send_answer(int socket, std::uint64_t nonce, const Answer& answer) {
  const bool large = answer.body.size() > kFrameInlineBodyMax;
  const int memfd = large ? FUSED_TRY(sealed(answer.body)) : -1;
  std::string bytes = encode_frame_head({.kind = FrameKind::result,
                                         .flags = large ? kFrameBodyInMemfd : std::uint16_t{0},
                                         .header_length = static_cast<std::uint32_t>(answer.header.size()),
                                         .body_length = static_cast<std::uint32_t>(answer.body.size()),
                                         .nonce = nonce});
  bytes += answer.header;
  if (!large) bytes += answer.body;
  const Status sent = send_all(socket, bytes, memfd);
  if (memfd >= 0) ::close(memfd);
  return sent;
}

}  // namespace

Status serve(int socket, std::uint64_t nonce, Answerer& answerer) {
  for (;;) {
    std::string head(kFrameHeadBytes, '\0');
    if (!FUSED_TRY(receive_all(socket, head.data(), head.size()))) return {};
    const FrameHead asked = FUSED_TRY(decode_frame_head(head, nonce));
    if (asked.kind != FrameKind::run || asked.body_length != 0) return fail(ErrorKind::internal, "not a question");
    std::string request(asked.header_length, '\0');
    if (!FUSED_TRY(receive_all(socket, request.data(), request.size()))) return {};
    FUSED_CHECK(send_answer(socket, nonce, answerer.answer(request)));
  }
}

}  // namespace fused::reader
