#include "worker/worker_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstring>

#include "sandbox/group_usage.hpp"
#include "worker/call_group.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr int kPipeBytes = 256 << 10;
constexpr std::size_t kLastLinesBytesMax = 16 << 10;
constexpr auto kLastLinesWait = std::chrono::milliseconds(150);
constexpr auto kExitMessageWait = std::chrono::milliseconds(500);
constexpr int kCallsAtOnceMax = 1'024;                  // unanswered requests of one run
constexpr std::size_t kCallBytesAtOnceMax = 1UL << 30;  // of their bodies
constexpr std::size_t kUnsentBytesMax = 1UL << 30;      // answers that the function's process does not read

json::object parse_object(std::string_view text) {
  boost::system::error_code error;
  json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error || !value.is_object()) return {};
  return std::move(value.get_object());
}

std::string member_text(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::string run_header(const RunOrder& order, bool known, bool others_wait) {
  const std::string udf = known ? order.udf_known : order.udf_full();
  std::string header;
  header.reserve(udf.size() + order.rest.size() + 40);
  header += others_wait ? "{\"others_wait\":true,\"udf\":" : "{\"udf\":";
  header += udf;
  header += ',';
  header += order.rest;
  header += '}';
  return header;
}

}  // namespace

WorkerProcess::WorkerProcess(asio::io_context& io, int number, std::uint64_t nonce, std::int64_t body_bytes_max,
                             WorkerEvents events)
    : io_(io), number_(number), nonce_(nonce), body_bytes_max_(body_bytes_max), events_(std::move(events)) {}

WorkerProcess::~WorkerProcess() = default;

Result<WorkerProcess::Ends> WorkerProcess::open() {
  std::array<int, 2> pair{};
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) return fail_errno("socketpair", errno);
  if (::pipe2(out.data(), O_CLOEXEC) != 0) return ::close(pair[0]), ::close(pair[1]), fail_errno("pipe2", errno);
  if (::pipe2(err.data(), O_CLOEXEC) != 0) {
    for (const int fd : {pair[0], pair[1], out[0], out[1]}) ::close(fd);
    return fail_errno("pipe2", errno);
  }
  ::fcntl(out[0], F_SETPIPE_SZ, kPipeBytes);
  socket_ = std::make_unique<FrameSocket>(io_, pair[0], nonce_, body_bytes_max_);
  streams_[0] = std::make_unique<asio::posix::stream_descriptor>(io_, out[0]);
  streams_[1] = std::make_unique<asio::posix::stream_descriptor>(io_, err[0]);
  for (auto& stream : streams_) stream->non_blocking(true);
  const auto keep = shared_from_this();
  asio::co_spawn(io_, [keep]() -> asio::awaitable<void> { co_await keep->read_frames(); }, asio::detached);
  for (const int stream : {1, 2})
    asio::co_spawn(
        io_, [keep, stream]() -> asio::awaitable<void> { co_await keep->read_stream(stream); }, asio::detached);
  return Ends{pair[1], out[1], err[1]};
}

asio::awaitable<void> WorkerProcess::read_frames() {
  for (;;) {
    auto frame = co_await socket_->read();
    if (!frame) {
      lost(frame.error());
      co_return;
    }
    std::string what;
    try {
      handle(std::move(*frame));
      continue;
    } catch (const std::exception& exception) {
      what = exception.what();
    }
    lost({ErrorKind::internal, "the server failed at its frame: " + what, {}});
    co_return;
  }
}

void WorkerProcess::handle(Frame frame) {
  if (killed_ && killed_->first == RunEnd::crashed) return;  // what follows a broken protocol counts for nothing
  switch (frame.kind) {
    case FrameKind::ready:
      if (state_ != WorkerState::starting) break;  // it would pass for a new one, and serve anybody
      if (killed_) return;
      report_ = parse_object(frame.header);
      state_ = WorkerState::blank;
      last_lines_.clear();
      events_.ready();
      return;
    case FrameKind::result:
    case FrameKind::group_result:
      if (current_ && state_ == WorkerState::busy && in_group_ == (frame.kind == FrameKind::group_result)) {
        RunReply reply;
        reply.header = parse_object(frame.header);
        reply.body = std::move(frame.body);
        state_ = WorkerState::cleaning;
        finish(std::move(reply));
        return;
      }
      break;
    case FrameKind::idle:
      if (state_ == WorkerState::cleaning && !idle_early_) {
        drain(1);  // what a thread printed after the result belongs to nobody
        drain(2);
        if (killed_) return;  // it is ending: nobody may be given it
        std::string why = member_text(parse_object(frame.header), "replace");
        if (current_)
          idle_early_ = std::move(why);  // the run's coroutine has its result, but was not resumed yet
        else
          events_.clean(why);
        return;
      }
      break;
    case FrameKind::limits:
      if (current_ && state_ == WorkerState::busy && !std::exchange(limited_, true)) {
        if (events_.limits) events_.limits(parse_object(frame.header));
        return;
      }
      break;
    case FrameKind::described:
      if (described_) {
        std::exchange(described_, nullptr)->set(std::move(frame));
        return;
      }
      break;
    case FrameKind::call:
      if (current_ && watcher_) return take_call(std::move(frame));
      break;
    default: break;
  }
  kill(RunEnd::crashed, "the worker sent a frame of kind " + std::to_string(static_cast<int>(frame.kind)) +
                            " that nobody expected; the function may have written to descriptors that are not its own");
}

void WorkerProcess::take_call(Frame frame) {
  if (++open_calls_ > kCallsAtOnceMax)
    return kill(RunEnd::limit_exceeded, "the function had more than " + std::to_string(kCallsAtOnceMax) +
                                            " unanswered requests to the server at once");
  const std::size_t body_bytes = frame.body.view.size();
  if ((open_call_bytes_ += body_bytes) > kCallBytesAtOnceMax)
    return kill(RunEnd::limit_exceeded, "the function's unanswered requests to the server had more than " +
                                            std::to_string(kCallBytesAtOnceMax) + " bytes at once");
  NestedCall call{0, parse_object(frame.header), std::move(frame.body)};
  const auto* number = call.header.if_contains("call");
  boost::system::error_code error;
  if (number) call.call = number->to_number<std::uint64_t>(error);
  if (!number || error)
    return kill(RunEnd::crashed,
                "the worker sent a request without its number; the function may have written to "
                "descriptors that are not its own");
  std::weak_ptr<WorkerProcess> weak = weak_from_this();
  watcher_->call(std::move(call), [weak, run = runs_, body_bytes](std::string header, std::string_view body) {
    const auto self = weak.lock();
    if (!self || self->state_ == WorkerState::dead) return;
    if (self->socket_->unsent_bytes() > kUnsentBytesMax)
      return self->kill(RunEnd::limit_exceeded, "the function does not read the server's answers: " +
                                                    std::to_string(kUnsentBytesMax) + " bytes of them wait");
    asio::co_spawn(
        self->io_,
        [self, run, body_bytes, header = std::move(header), body = std::string(body)]() -> asio::awaitable<void> {
          (void)co_await self->socket_->write(FrameKind::call_reply, header, body);
          if (self->runs_ != run) co_return;
          --self->open_calls_;
          self->open_call_bytes_ -= body_bytes;
        },
        asio::detached);
  });
}

asio::awaitable<RunReply> WorkerProcess::run(const RunOrder& order, RunWatcher& watcher, bool others_wait) {
  const auto keep = shared_from_this();
  Completion<RunReply> done;
  current_ = &done;
  watcher_ = &watcher;
  state_ = WorkerState::busy;
  busy_since_ = std::chrono::steady_clock::now();
  ++runs_;
  open_calls_ = 0;
  open_call_bytes_ = 0;
  limited_ = false;
  watcher.started(number_, pid_);
  const bool known = !known_functions_.insert(order.function_hash).second;
  in_group_ = order.group != nullptr;
  Status sent;
  if (in_group_) {
    const CallGroup::Given given = order.group->give();
    std::string header = run_header(order, known, false);
    header.back() = ',';
    header += "\"calls\":" + std::to_string(given.calls) + '}';
    sent = co_await socket_->write(FrameKind::run_group, std::move(header), given.body, given.descriptors);
  } else {
    sent = co_await socket_->write(FrameKind::run, run_header(order, known, others_wait));
  }
  if (!sent && !done.is_set()) kill(RunEnd::crashed, "the worker took no order: " + sent.error().message);
  RunReply reply = co_await done.wait();
  current_ = nullptr;
  watcher_ = nullptr;
  if (idle_early_) {
    // After the caller's own end of the run: what it noted under this worker's number must be gone before the next run.
    asio::post(io_, [keep] {
      const std::string why = *std::exchange(keep->idle_early_, std::nullopt);
      if (keep->state_ == WorkerState::cleaning && !keep->killed_) keep->events_.clean(why);
    });
  }
  co_return reply;
}

asio::awaitable<Result<Frame>> WorkerProcess::describe(std::string header) {
  const auto keep = shared_from_this();
  Completion<Result<Frame>> done;
  described_ = &done;
  const auto before = state_;
  state_ = WorkerState::busy;
  if (const auto sent = co_await socket_->write(FrameKind::describe, std::move(header)); !sent) {
    described_ = nullptr;
    co_return std::unexpected(sent.error());
  }
  auto frame = co_await done.wait();
  described_ = nullptr;
  if (state_ != WorkerState::dead) state_ = before;
  co_return frame;
}

void WorkerProcess::finish(RunReply reply) {
  if (!current_) return;
  drain(1);
  drain(2);
  if (reply.peak_memory_bytes == 0)
    if (const auto* peak = reply.header.if_contains("peak_memory_bytes"); peak && peak->is_int64())
      reply.peak_memory_bytes = peak->get_int64();
  current_->set(std::move(reply));
}

void WorkerProcess::take_output(int stream, std::string_view bytes) {
  if (asked_ && stream == 2)
    last_lines_.append(bytes.substr(0, kLastLinesBytesMax - std::min(kLastLinesBytesMax, last_lines_.size())));
  else if (watcher_)
    watcher_->output(stream, bytes);
  else if (state_ == WorkerState::starting)
    last_lines_.append(bytes.substr(0, kLastLinesBytesMax - std::min(kLastLinesBytesMax, last_lines_.size())));
}

void WorkerProcess::drain(int stream) {
  auto& descriptor = streams_[stream - 1];
  if (!descriptor || !descriptor->is_open()) return;
  std::array<char, 32 << 10> bytes;
  for (;;) {
    const ssize_t count = ::read(descriptor->native_handle(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    take_output(stream, {bytes.data(), static_cast<std::size_t>(count)});
    if (static_cast<std::size_t>(count) < bytes.size()) return;
  }
}

asio::awaitable<void> WorkerProcess::read_stream(int stream) {
  auto& descriptor = *streams_[stream - 1];
  std::array<char, 32 << 10> bytes;
  for (;;) {
    boost::system::error_code error;
    co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                   asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    // One chunk a turn, so that a function that prints without end cannot hold the event loop.
    const ssize_t count = ::read(descriptor.native_handle(), bytes.data(), bytes.size());
    if (count == 0) co_return;
    if (count > 0) take_output(stream, {bytes.data(), static_cast<std::size_t>(count)});
  }
}

void WorkerProcess::forked(pid_t pid) {
  pid_ = pid;
  if (killed_) kill(killed_->first, {});
}

void WorkerProcess::exited(const WorkerExit& exit) {
  exit_ = exit;
  if (socket_closed_) return lost({});
  // A process that the worker has left behind may hold its socket open: what was sent is read, then it is closed.
  soon([](WorkerProcess& worker) {
    if (!worker.socket_closed_ && worker.socket_) worker.socket_->close();
  });
}

// `act`, when a message of zygote or worker that is on its way has had its time.
void WorkerProcess::soon(void (*act)(WorkerProcess&)) {
  const auto wait = [keep = shared_from_this(), act]() -> asio::awaitable<void> {
    asio::steady_timer timer(keep->io_, kExitMessageWait);
    co_await timer.async_wait(asio::use_awaitable);
    act(*keep);
  };
  asio::co_spawn(io_, wait, asio::detached);
}

void WorkerProcess::lost(const Error& error) {
  if (!socket_closed_) {
    socket_closed_ = true;
    socket_error_ = error.message;
    if (error.message != "closed") kill(RunEnd::crashed, "the worker left the protocol (" + error.message + ")");
    if (!exit_) {
      // The zygote says how it ended; where that message never comes, the run must end all the same.
      return soon([](WorkerProcess& worker) {
        if (!worker.exit_) worker.exited({worker.number_, worker.pid_, 0, 0});
      });
    }
  }
  if (state_ == WorkerState::dead) return;
  if (state_ == WorkerState::starting) {
    drain(2);
    spdlog::error("worker {} ended before it was ready: {}", number_,
                  last_lines_.empty() ? end_reply().message : last_lines_);
  }
  if (current_) finish(end_reply());
  if (described_) std::exchange(described_, nullptr)->set(fail(ErrorKind::unavailable, "the worker ended"));
  state_ = WorkerState::dead;
  socket_->close();
  for (auto& stream : streams_) stream->close();
  events_.dead();
}

RunReply WorkerProcess::end_reply() const {
  RunReply reply;
  reply.peak_memory_bytes = exit_ ? exit_->max_rss_bytes : 0;
  if (exit_ && WIFSIGNALED(exit_->wait_status)) reply.signal = WTERMSIG(exit_->wait_status);
  if (exit_ && WIFEXITED(exit_->wait_status)) reply.exit_code = WEXITSTATUS(exit_->wait_status);
  reply.last_lines = last_lines_;
  if (killed_) {
    reply.end = killed_->first;
    reply.message = killed_->second;
  } else if (reply.signal != 0) {
    reply.end = RunEnd::crashed;
    reply.message = "the function's process was ended by signal " + std::to_string(reply.signal) + " (" +
                    ::strsignal(reply.signal) + ")";
    if (reply.signal == SIGKILL) reply.message += "; the system may have run out of memory";
  } else {
    reply.end = RunEnd::no_result;
    reply.message =
        "the function's process ended with exit code " + std::to_string(reply.exit_code) + " before it gave a result";
  }
  return reply;
}

void WorkerProcess::kill(RunEnd why, std::string message) {
  if (state_ == WorkerState::dead) return;
  if (!killed_) killed_ = {why, std::move(message)};
  // The init process of a pid namespace takes all with it; where there is none, the tree is walked.
  if (exit_) return;
  if (pid_ <= 1) return socket_->close();  // the zygote has not said who it is: it ends at end of file
  const auto* own_pids = report_.if_contains("pid_namespace");
  if (own_pids && own_pids->is_bool() && own_pids->get_bool())
    ::kill(pid_, SIGKILL);
  else
    end_group(pid_);
}

void WorkerProcess::end_run(RunEnd why, std::string message) {
  if (state_ == WorkerState::dead || killed_ || exit_) return;
  if (pid_ <= 1) return kill(why, std::move(message));
  killed_ = {why, message};
  drain(2);
  asked_ = true;
  ::kill(pid_, kWhereAreYouSignal);
  const auto keep = shared_from_this();
  asio::co_spawn(
      io_,
      [keep, why, message = std::move(message)]() -> asio::awaitable<void> {
        asio::steady_timer timer(keep->io_, kLastLinesWait);
        co_await timer.async_wait(asio::use_awaitable);
        keep->kill(why, message);
      },
      asio::detached);
}

void WorkerProcess::enter(const json::object& sandbox) {
  const auto keep = shared_from_this();
  // One that cannot be written to has ended, which is told by reading.
  asio::co_spawn(
      io_,
      [keep, header = json::serialize(json::object{{"sandbox", sandbox}})]() -> asio::awaitable<void> {
        (void)co_await keep->socket_->write(FrameKind::enter, header);
      },
      asio::detached);
}

void WorkerProcess::leave() {
  const auto keep = shared_from_this();
  asio::co_spawn(
      io_, [keep]() -> asio::awaitable<void> { (void)co_await keep->socket_->write(FrameKind::leave, "{}"); },
      asio::detached);
}

}  // namespace fused
