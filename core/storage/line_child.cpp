#include "storage/line_child.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/child_process.hpp"

namespace fused {
namespace {

constexpr std::size_t kLineBytesMax = 64 << 10;
constexpr useconds_t kLeavePause_us = 2'000;

using Clock = std::chrono::steady_clock;

}  // namespace

Result<LineChild> LineChild::start(const std::vector<std::string>& command,
                                   const std::vector<std::string>& environment) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return fail_errno("socketpair", errno);
  FileDescriptor ours(pair[0]);
  const FileDescriptor theirs(pair[1]);
  const pid_t pid = FUSED_TRY(start_child(
      {command.at(0), {command.begin() + 1, command.end()}, environment, {{theirs.get(), 0}, {theirs.get(), 1}}}));
  return LineChild(pid, std::move(ours));
}

LineChild::LineChild(LineChild&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), socket_(std::move(other.socket_)), buffer_(std::move(other.buffer_)) {}

LineChild::~LineChild() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void LineChild::let_go(std::chrono::milliseconds patience) {
  socket_ = FileDescriptor();  // the end of its orders
  const pid_t pid = std::exchange(pid_, 0);
  if (pid == 0) return;
  const auto deadline = Clock::now() + patience;
  while (::waitpid(pid, nullptr, WNOHANG) == 0) {
    if (Clock::now() >= deadline) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
      return;
    }
    ::usleep(kLeavePause_us);
  }
}

std::string LineChild::ask(const std::string& line, std::chrono::milliseconds patience) {
  std::string answer = send(line + '\n') ? next_line(Clock::now() + patience) : std::string();
  if (answer.empty() && pid_ > 0) ::kill(pid_, SIGKILL);
  return answer;
}

bool LineChild::send(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

std::string LineChild::next_line(Clock::time_point deadline) {
  for (;;) {
    if (const std::size_t end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (buffer_.size() > kLineBytesMax) return {};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return {};
    pollfd ready{socket_.get(), POLLIN, 0};
    const int found = ::poll(&ready, 1, static_cast<int>(left.count()));
    if (found < 0 && errno == EINTR) continue;
    if (found <= 0) return {};
    char bytes[4096];
    const ssize_t n = ::recv(socket_.get(), bytes, sizeof bytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return {};
    buffer_.append(bytes, static_cast<std::size_t>(n));
  }
}

}  // namespace fused
