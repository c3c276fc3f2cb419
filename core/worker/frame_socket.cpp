#include "worker/frame_socket.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>

namespace fused {
namespace asio = boost::asio;
namespace {

constexpr std::size_t kReadChunk = 64 << 10;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
constexpr std::size_t kDescriptorsMax = 8;  // with one frame; connection.py makes room for as many

ssize_t send_descriptors(int socket, std::string_view bytes, const std::vector<FileDescriptor>& descriptors) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kDescriptorsMax)] = {};
  const std::size_t count = std::min(descriptors.size(), kDescriptorsMax);
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
  cmsghdr* head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int) * count);
  for (std::size_t i = 0; i < count; ++i) {
    const int descriptor = descriptors[i].get();
    std::memcpy(CMSG_DATA(head) + i * sizeof(int), &descriptor, sizeof(int));
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

Result<FileDescriptor> sealed_memory(std::string_view bytes) {
  FileDescriptor memory(::memfd_create("fused-body", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return fail_errno("memfd_create", errno);
  while (!bytes.empty()) {
    const ssize_t count = ::write(memory.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("write to a memory file", errno);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  if (::fcntl(memory.get(), F_ADD_SEALS, kSeals) != 0) return fail_errno("fcntl(F_ADD_SEALS)", errno);
  return memory;
}

}  // namespace

FrameSocket::FrameSocket(asio::io_context& io, int descriptor, std::uint64_t nonce, std::int64_t body_bytes_max)
    : socket_(io, asio::local::stream_protocol(), descriptor), nonce_(nonce), body_bytes_max_(body_bytes_max) {
  socket_.non_blocking(true);
  buffer_.resize(kReadChunk);
}

void FrameSocket::close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
  if (received_memfd_ >= 0) ::close(std::exchange(received_memfd_, -1));
}

// Bytes read, 0 when there are none now. Descriptors that come along are kept only when they are the one we expect.
Result<std::size_t> FrameSocket::receive_some(char* to, std::size_t bytes) {
  iovec part{to, bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t count = ::recvmsg(socket_.native_handle(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (count == 0) return fail(ErrorKind::unavailable, "closed");
  if (count < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return 0;
    return fail_errno("recvmsg from a worker", errno);
  }
  for (auto* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t descriptors = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < descriptors; ++i) {
      int descriptor;
      std::memcpy(&descriptor, CMSG_DATA(c) + i * sizeof(int), sizeof descriptor);
      if (received_memfd_ < 0)
        received_memfd_ = descriptor;
      else
        ::close(descriptor);
    }
  }
  return static_cast<std::size_t>(count);
}

asio::awaitable<Status> FrameSocket::fill(std::size_t bytes) {
  if (end_ - begin_ >= bytes) co_return Status{};
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() < std::max(bytes, kReadChunk)) buffer_.resize(std::max(bytes, kReadChunk));
  while (end_ < bytes) {
    // Waiting first saves a read that would find nothing; what has come meanwhile ends the wait at once.
    boost::system::error_code error;
    co_await socket_.async_wait(asio::socket_base::wait_read, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return fail(ErrorKind::unavailable, "closed");
    auto count = receive_some(buffer_.data() + end_, buffer_.size() - end_);
    if (!count) co_return std::unexpected(count.error());
    end_ += *count;
  }
  co_return Status{};
}

Result<Bytes> FrameSocket::map_memfd(std::uint32_t length) {
  const int descriptor = std::exchange(received_memfd_, -1);
  if (descriptor < 0) return fail(ErrorKind::internal, "not a frame: its memfd is missing");
  struct stat info{};
  // Unsealed, the worker could shrink it under our feet (SIGBUS) or change it after we have looked.
  const int seals = ::fcntl(descriptor, F_GET_SEALS);  // -1, which has every bit, of what is no memfd
  const bool sound = ::fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode) &&
                     info.st_size == static_cast<off_t>(length) && seals >= 0 && (seals & kSeals) == kSeals;
  void* at = sound && length > 0 ? ::mmap(nullptr, length, PROT_READ, MAP_SHARED, descriptor, 0) : MAP_FAILED;
  ::close(descriptor);
  if (at == MAP_FAILED)
    return fail(ErrorKind::internal, "not a frame: its memfd is not sealed or not of the size it says");
  std::shared_ptr<const void> owner(at, [length](const void* p) { ::munmap(const_cast<void*>(p), length); });
  return Bytes{owner, {static_cast<const char*>(at), length}};
}

asio::awaitable<Result<Frame>> FrameSocket::read() {
  if (auto filled = co_await fill(kFrameHeadBytes); !filled) co_return std::unexpected(filled.error());
  const auto head = decode_frame_head({buffer_.data() + begin_, kFrameHeadBytes}, nonce_);
  if (!head) co_return std::unexpected(head.error());
  if (head->body_length > body_bytes_max_)
    co_return fail(ErrorKind::too_large, "a body of " + std::to_string(head->body_length) +
                                             " bytes, over the limit of " + std::to_string(body_bytes_max_));
  const bool in_memfd = head->flags & kFrameBodyInMemfd;
  if (!in_memfd && head->body_length > kFrameInlineBodyMax)
    co_return fail(ErrorKind::too_large, "a body of " + std::to_string(head->body_length) +
                                             " bytes outside a memfd; the limit is " +
                                             std::to_string(kFrameInlineBodyMax));
  const std::size_t body_length = in_memfd ? 0 : head->body_length;
  const std::size_t total = kFrameHeadBytes + head->header_length + body_length;
  if (auto filled = co_await fill(total); !filled) co_return std::unexpected(filled.error());
  Frame frame{head->kind, std::string(buffer_.data() + begin_ + kFrameHeadBytes, head->header_length), {}};
  if (in_memfd) {
    auto body = map_memfd(head->body_length);
    if (!body) co_return std::unexpected(body.error());
    frame.body = std::move(*body);
  } else if (body_length > 0) {
    frame.body = Bytes::of(std::string(buffer_.data() + begin_ + kFrameHeadBytes + head->header_length, body_length));
  }
  begin_ += total;
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (buffer_.size() > 4 * kReadChunk) buffer_ = std::string(kReadChunk, '\0');
  }
  co_return frame;
}

asio::awaitable<Status> FrameSocket::send_all(const Unsent& unsent) {
  std::string_view bytes = unsent.bytes;
  bool with_descriptors = !unsent.descriptors.empty();
  while (!bytes.empty()) {
    const ssize_t count =
        with_descriptors ? send_descriptors(socket_.native_handle(), bytes, unsent.descriptors)
                         : ::send(socket_.native_handle(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
      with_descriptors = false;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      boost::system::error_code error;
      co_await socket_.async_wait(asio::socket_base::wait_write, asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return fail(ErrorKind::unavailable, "closed");
    } else if (errno != EINTR) {
      co_return fail_errno("send to a worker", errno);
    }
  }
  co_return Status{};
}

asio::awaitable<Status> FrameSocket::write(FrameKind kind, std::string header, std::string_view body,
                                           std::span<const int> descriptors) {
  FrameHead head{kind, 0, static_cast<std::uint32_t>(header.size()), static_cast<std::uint32_t>(body.size()), nonce_};
  std::vector<FileDescriptor> travelling;
  if (!descriptors.empty() && body.size() > kFrameInlineBodyMax) {
    auto memory = sealed_memory(body);
    if (!memory) co_return std::unexpected(memory.error());
    travelling.push_back(*std::move(memory));
    head.flags = kFrameBodyInMemfd;
    body = {};
  }
  for (const int descriptor : descriptors) {
    travelling.emplace_back(::fcntl(descriptor, F_DUPFD_CLOEXEC, 3));
    if (!travelling.back()) co_return fail_errno("fcntl(F_DUPFD_CLOEXEC)", errno);
  }
  std::string bytes = encode_frame_head(head);
  bytes.reserve(bytes.size() + header.size() + body.size());
  bytes += header;
  bytes += body;
  unsent_bytes_ += bytes.size();
  if (!travelling.empty() || unsent_.empty())
    unsent_.push_back({std::move(bytes), std::move(travelling)});
  else
    unsent_.back().bytes += bytes;
  if (sending_) co_return Status{};  // the coroutine that is sending takes it along, in order
  sending_ = true;
  Status sent;
  while (sent && !unsent_.empty()) {
    const Unsent now = std::move(unsent_.front());
    unsent_.pop_front();
    unsent_bytes_ -= now.bytes.size();
    sent = co_await send_all(now);
  }
  sending_ = false;
  co_return sent;
}

}  // namespace fused
