#include "worker/zygote.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstring>

#include "base/child_process.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::size_t kMessageBytesMax = 64 << 10;
constexpr int kQuickDeathsMax = 5;
constexpr int kUnfitDeaths = 2;  // by itself, and never ready

std::int64_t number(const json::object& message, std::string_view key) {
  const auto* value = message.if_contains(key);
  return value && value->is_number() ? value->to_number<std::int64_t>() : 0;
}

std::string text(const json::object& message, std::string_view key) {
  const auto* value = message.if_contains(key);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

}  // namespace

Zygote::Zygote(asio::io_context& io, ZygoteOptions options, ZygoteEvents events)
    : io_(io), options_(std::move(options)), events_(std::move(events)), control_(io) {}

Zygote::~Zygote() { stop(); }

Status Zygote::start() {
  FUSED_CHECK(spawn());
  asio::co_spawn(io_, read_loop(), asio::detached);
  return {};
}

Status Zygote::spawn() {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) return fail_errno("socketpair", errno);
  // -I would drop PYTHONPATH, which an in-tree build needs; -s keeps the user's own packages out.
  const auto child = start_child({options_.python,
                                  {"-s", "-m", "fused._worker.zygote", "--dies-with-parent"},
                                  options_.environment,
                                  {{pair[1], 3}}});
  ::close(pair[1]);
  if (!child) {
    ::close(pair[0]);
    pid_ = -1;
    return fail(ErrorKind::internal, "the Python interpreter: " + child.error().message +
                                         "; set --python to the interpreter of the environment that has fused "
                                         "installed");
  }
  pid_ = *child;
  control_ = asio::generic::seq_packet_protocol::socket(io_, {AF_UNIX, 0}, pair[0]);
  control_.non_blocking(true);
  ready_ = false;
  return {};
}

asio::awaitable<void> Zygote::read_loop() {
  std::string buffer(kMessageBytesMax, '\0');
  for (;;) {
    const auto born = std::chrono::steady_clock::now();
    for (;;) {
      boost::system::error_code error;
      co_await control_.async_wait(asio::socket_base::wait_read, asio::redirect_error(asio::use_awaitable, error));
      if (error || stopping_) co_return;
      const ssize_t count = ::recv(control_.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (count <= 0) break;
      handle({buffer.data(), static_cast<std::size_t>(count)});
    }
    boost::system::error_code ignored;
    control_.close(ignored);
    const int status = reap();
    ready_ = false;
    events_.lost("the zygote ended");
    quick_deaths_ = std::chrono::steady_clock::now() - born < std::chrono::seconds(10) ? quick_deaths_ + 1 : 0;
    if (!was_ready_ && quick_deaths_ >= kUnfitDeaths && WIFEXITED(status) && WEXITSTATUS(status) != 0) {
      events_.unfit(options_.python + " cannot run functions: it ended " + std::to_string(quick_deaths_) +
                    " times before it was ready, with exit code " + std::to_string(WEXITSTATUS(status)) +
                    "; the lines above say why. Name the interpreter of the environment that has fused and its "
                    "packages with --python");
      co_return;
    }
    if (quick_deaths_ >= kQuickDeathsMax)
      spdlog::error(
          "the Python process that workers are forked from ended {} times at once; see the lines above; retrying",
          quick_deaths_);
    asio::steady_timer pause(io_,
                             std::chrono::milliseconds(quick_deaths_ == 0 ? 0 : 200 << std::min(quick_deaths_, 5)));
    co_await pause.async_wait(asio::use_awaitable);
    if (stopping_) co_return;
    for (auto started = spawn(); !started; started = spawn()) {
      spdlog::error("{}; tried again in a second", started.error().message);
      pause.expires_after(std::chrono::seconds(1));
      co_await pause.async_wait(asio::use_awaitable);
      if (stopping_) co_return;
    }
  }
}

void Zygote::handle(std::string_view bytes) {
  boost::system::error_code error;
  const json::value parsed = json::parse(json::string_view(bytes.data(), bytes.size()), error);
  if (error || !parsed.is_object()) {
    spdlog::error("the zygote sent what is not a message ({} bytes)", bytes.size());
    return;
  }
  const json::object& message = parsed.get_object();
  const std::string op = text(message, "op");
  const int worker = static_cast<int>(number(message, "worker"));
  if (op == "ready") {
    ready_ = was_ready_ = true;
    events_.ready();
  } else if (op == "forked") {
    events_.forked(worker, static_cast<pid_t>(number(message, "pid")));
  } else if (op == "fork_failed") {
    events_.fork_failed(worker, text(message, "message"));
  } else if (op == "exited") {
    events_.exited({worker, static_cast<pid_t>(number(message, "pid")), static_cast<int>(number(message, "status")),
                    number(message, "max_rss_bytes")});
  }
}

Status Zygote::fork_worker(int worker, std::uint64_t nonce, const json::object& sandbox, bool late, int socket, int out,
                           int err) {
  json::object order{{"op", "fork"}, {"worker", worker}, {"nonce", std::to_string(nonce)}, {"sandbox", sandbox}};
  if (late) order["late"] = true;
  std::string message = json::serialize(order);
  std::array<int, 3> descriptors{socket, out, err};
  iovec part{message.data(), message.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptors)] = {};
  msghdr packet{};
  packet.msg_iov = &part;
  packet.msg_iovlen = 1;
  packet.msg_control = control;
  packet.msg_controllen = sizeof control;
  auto* header = CMSG_FIRSTHDR(&packet);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof descriptors);
  std::memcpy(CMSG_DATA(header), descriptors.data(), sizeof descriptors);
  const ssize_t sent =
      control_.is_open() ? ::sendmsg(control_.native_handle(), &packet, MSG_NOSIGNAL) : (errno = EPIPE, -1);
  const int error = errno;
  for (const int descriptor : descriptors) ::close(descriptor);
  if (sent < 0) return fail_errno("cannot ask the zygote for a worker", error);
  return {};
}

int Zygote::reap() {
  if (pid_ <= 0) return 0;
  int status = 0;
  for (int i = 0; i < 50 && ::waitpid(pid_, &status, WNOHANG) == 0; ++i) {
    if (i == 20) ::kill(pid_, SIGKILL);
    ::usleep(2'000);
  }
  pid_ = -1;
  return status;
}

void Zygote::stop() {
  if (stopping_) return;
  stopping_ = true;
  boost::system::error_code ignored;
  control_.close(ignored);  // the zygote ends at end of file, its workers by their parent-death signal
  reap();
}

}  // namespace fused
