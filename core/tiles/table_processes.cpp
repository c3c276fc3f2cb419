#include "tiles/table_processes.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstring>

#include "base/child_process.hpp"
#include "worker/frame_socket.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

ErrorKind kind_of(std::string_view name) {
  for (const auto kind :
       {ErrorKind::invalid_argument, ErrorKind::forbidden, ErrorKind::not_found, ErrorKind::conflict,
        ErrorKind::too_large, ErrorKind::unprocessable, ErrorKind::not_acceptable, ErrorKind::unavailable})
    if (error_type(kind) == name) return kind;
  return ErrorKind::internal;
}

std::string text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

}  // namespace

struct TableProcesses::Process {
  Process(asio::io_context& io, pid_t process, int socket, std::uint64_t nonce, std::int64_t body_bytes_max, int of)
      : pid(process), frames(io, socket, nonce, body_bytes_max), generation(of) {}
  ~Process() {
    end();
    frames.close();
    int status = 0;
    // It has been killed: the wait is short.
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
  }
  void end() const { ::kill(pid, SIGKILL); }
  bool is_over() const {  // it stays to be waited for
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
  }
  Process(const Process&) = delete;

  pid_t pid;
  FrameSocket frames;
  int generation;
  bool timed_out = false;
  bool is_known = false;  // it has been asked before
};

TableProcesses::TableProcesses(asio::io_context& io, TableProcessesOptions options)
    : io_(io), options_(std::move(options)), turns_(options_.processes) {}

TableProcesses::~TableProcesses() { stop(); }

void TableProcesses::stop() {
  stopping_ = true;
  idle_.clear();
  for (const auto& weak : all_)
    if (const auto process = weak.lock()) process->end();
  for (const auto& waiting : queue_) waiting->turn.set(false);
  queue_.clear();
}

void TableProcesses::set_folders(std::vector<std::string> folders) {
  if (folders == folders_) return;
  folders_ = std::move(folders);
  ++generation_;
  idle_.clear();
}

asio::awaitable<Status> TableProcesses::wait_for_turn(std::shared_ptr<const bool> gone) {
  if (stopping_) co_return fail(ErrorKind::unavailable, "the server is stopping");
  if (turns_ > 0) {
    --turns_;
    co_return Status{};
  }
  if (queue_.size() >= options_.queue_length)
    co_return fail(ErrorKind::too_many_requests,
                   std::to_string(queue_.size()) + " reads of tables are waiting already; try again in a moment");
  auto waiting = std::make_shared<Waiting>();
  waiting->gone = std::move(gone);
  queue_.push_back(waiting);
  const bool turn = co_await waiting->turn.wait();
  if (!turn) co_return fail(ErrorKind::unavailable, "nobody waits for it any more, or the server is stopping");
  co_return Status{};
}

void TableProcesses::end_turn() {
  while (!queue_.empty()) {
    const auto next = std::move(queue_.front());
    queue_.pop_front();
    const bool wanted = !next->gone || !*next->gone;
    next->turn.set(wanted);
    if (wanted) return;
  }
  ++turns_;
}

Result<std::shared_ptr<TableProcesses::Process>> TableProcesses::spawn() {
  std::uint64_t nonce = 0;
  ::randombytes_buf(&nonce, sizeof nonce);
  const auto scratch = options_.scratch / ("table-" + std::to_string(started_++ % 1'000));
  std::error_code error;
  std::filesystem::create_directories(scratch, error);
  json::object sandbox = options_.sandbox;
  sandbox["scratch"] = scratch.string();
  for (const auto& folder : folders_) sandbox["python_paths"].as_array().emplace_back(folder);
  std::string order = json::serialize(json::object{{"nonce", std::to_string(nonce)}, {"sandbox", std::move(sandbox)}});

  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) return fail_errno("socketpair", errno);
  const auto pid = start_child({options_.program.string(), {order}, options_.environment, {{pair[1], 3}}});
  ::close(pair[1]);
  if (!pid) {
    ::close(pair[0]);
    return std::unexpected(pid.error());
  }
  auto process = std::make_shared<Process>(io_, *pid, pair[0], nonce, options_.body_bytes_max, generation_);
  std::erase_if(all_, [](const auto& weak) { return weak.expired(); });
  all_.push_back(process);
  return process;
}

asio::awaitable<Result<TableAnswer>> TableProcesses::converse(Process& process, std::string question) {
  if (auto sent = co_await process.frames.write(FrameKind::run, std::move(question)); !sent)
    co_return std::unexpected(sent.error());
  auto frame = co_await process.frames.read();
  if (!frame) co_return std::unexpected(frame.error());
  boost::system::error_code error;
  auto header = json::parse(frame->header, error);
  if (error || !header.is_object() || frame->kind != FrameKind::result)
    co_return fail(ErrorKind::unavailable, "not a frame");
  co_return TableAnswer{std::move(header.get_object()), std::move(frame->body)};
}

Result<std::shared_ptr<TableProcesses::Process>> TableProcesses::take() {
  std::erase_if(idle_, [&](const auto& process) { return process->generation != generation_ || process->is_over(); });
  if (idle_.empty()) return spawn();
  auto process = std::move(idle_.back());
  idle_.pop_back();
  return process;
}

asio::awaitable<Result<TableAnswer>> TableProcesses::ask_one(std::shared_ptr<Process> process, std::string question) {
  asio::steady_timer timer(io_, options_.wall);
  auto on_time = [weak = std::weak_ptr(process)](const boost::system::error_code& error) {
    const auto held = weak.lock();
    if (error || !held) return;
    held->timed_out = true;
    held->end();
  };
  timer.async_wait(std::move(on_time));
  auto answer = co_await converse(*process, std::move(question));
  timer.cancel();
  const bool timed_out = process->timed_out;
  if (answer && !timed_out && !stopping_) {
    idle_.push_back(std::move(process));
    co_return answer;
  }
  spdlog::warn("a process that reads tables was replaced: {}", timed_out ? "it took too long"
                                                               : answer  ? "the server stops"
                                                                         : answer.error().message);
  if (timed_out)
    co_return fail(ErrorKind::timeout, "the read took longer than " + std::to_string(options_.wall.count()) +
                                           " ms; ask for a smaller box or fewer columns");
  if (!answer)
    co_return fail(answer.error().kind == ErrorKind::too_large ? ErrorKind::too_large : ErrorKind::unavailable,
                   "the process that read the table ended or said nonsense (" + answer.error().message +
                       "); ask again, and if it happens again, check the table: fused table verify");
  co_return answer;
}

asio::awaitable<Result<TableAnswer>> TableProcesses::ask(std::string question, std::shared_ptr<const bool> gone) {
  if (auto turn = co_await wait_for_turn(std::move(gone)); !turn) co_return std::unexpected(turn.error());
  Result<TableAnswer> answer = fail(ErrorKind::internal, "nobody was asked");
  for (bool again = true; again;) {
    auto process = take();
    if (!process) {
      answer = std::unexpected(process.error());
      break;
    }
    // One that has answered before may have been killed since: then the question is not to blame, and is asked again.
    again = std::exchange((*process)->is_known, true);
    answer = co_await ask_one(*std::move(process), question);
    again = again && !answer && answer.error().kind == ErrorKind::unavailable && !stopping_;
  }
  end_turn();
  if (!answer) co_return answer;
  if (const auto* error = answer->header.if_contains("error"); error && error->is_object())
    co_return fail(kind_of(text_of(error->get_object(), "kind")), text_of(error->get_object(), "message"));
  co_return answer;
}

}  // namespace fused
