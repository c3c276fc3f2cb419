#include "functions/history_outbox.hpp"

#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstring>
#include <unordered_set>

#include "base/child_process.hpp"
#include "storage/file_descriptor.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::size_t kBatch = 256;
constexpr auto kFirstPause = std::chrono::seconds(1);
constexpr auto kLongestPause = std::chrono::seconds(60);
constexpr int kAnswerMs = 60'000;  // one object: a store that says nothing for so long is asked again later
constexpr std::size_t kLineBytesMax = 64 << 10;
constexpr std::string_view kFolder = "s3/";  // of DIR; below it bucket and key

struct Child {
  pid_t pid = 0;
  FileDescriptor socket;
};

// The sender, with a socket as its standard input and output.
Result<Child> begin(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return fail_errno("socketpair", errno);
  Child child{0, FileDescriptor(pair[0])};
  const FileDescriptor theirs(pair[1]);
  child.pid = FUSED_TRY(start_child(
      {command.at(0), {command.begin() + 1, command.end()}, environment, {{theirs.get(), 0}, {theirs.get(), 1}}}));
  return child;
}

bool send_all(int socket, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// The next line of `socket`, "" where none comes in time.
std::string next_line(int socket, std::string& buffer) {
  for (;;) {
    if (const std::size_t end = buffer.find('\n'); end != std::string::npos) {
      std::string line = buffer.substr(0, end);
      buffer.erase(0, end + 1);
      return line;
    }
    pollfd ready{socket, POLLIN, 0};
    if (buffer.size() > kLineBytesMax || ::poll(&ready, 1, kAnswerMs) <= 0) return {};
    char bytes[4096];
    const ssize_t n = ::recv(socket, bytes, sizeof bytes, 0);
    if (n <= 0) return {};
    buffer.append(bytes, static_cast<std::size_t>(n));
  }
}

}  // namespace

HistoryOutbox::HistoryOutbox(HistoryOutboxOptions options, std::function<void(std::vector<std::string>)> sent)
    : options_(std::move(options)), sent_(std::move(sent)) {
  figures_.endpoint = options_.endpoint;
  if (!options_.endpoint.empty()) thread_ = std::thread([this] { work(); });
}

HistoryOutbox::~HistoryOutbox() { close(); }

void HistoryOutbox::close() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    if (child_ > 0) ::kill(child_, SIGKILL);
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void HistoryOutbox::add(std::vector<std::string> paths) {
  if (options_.endpoint.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    for (auto& path : paths) waiting_.push_back(std::move(path));
  }
  wake_.notify_one();
}

HistoryOutboxFigures HistoryOutbox::figures() const {
  const std::lock_guard lock(mutex_);
  HistoryOutboxFigures figures = figures_;
  figures.backlog = waiting_.size();
  return figures;
}

void HistoryOutbox::work() {
  std::chrono::milliseconds pause = kFirstPause;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    wake_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
    if (stop_) return;
    const std::vector<std::string> batch(waiting_.begin(),
                                         waiting_.begin() + static_cast<long>(std::min(kBatch, waiting_.size())));
    lock.unlock();
    std::string trouble;
    std::vector<std::string> done = send(batch, trouble);
    lock.lock();
    if (stop_ && done.empty()) return;
    // Only this thread takes from the front; `add` appends.
    const std::unordered_set<std::string_view> taken(done.begin(), done.end());
    std::erase_if(waiting_, [&](const std::string& path) { return taken.contains(path); });
    figures_.sent += done.size();
    if (!trouble.empty()) ++figures_.failed;
    if (!trouble.empty() && figures_.trouble.empty())
      spdlog::warn("history files wait for {}: {}; saves go on", options_.endpoint, trouble);
    if (trouble.empty() && !figures_.trouble.empty()) spdlog::info("history files reach {} again", options_.endpoint);
    figures_.trouble = trouble;
    lock.unlock();
    if (!done.empty()) sent_(std::move(done));
    lock.lock();
    pause = trouble.empty() ? std::chrono::milliseconds(kFirstPause)
                            : std::min<std::chrono::milliseconds>(2 * pause, kLongestPause);
    if (!trouble.empty()) wake_.wait_for(lock, pause, [this] { return stop_; });
  }
}

// The paths that are in the store now. The first failure ends the batch: what follows would most likely fail as well.
std::vector<std::string> HistoryOutbox::send(const std::vector<std::string>& paths, std::string& trouble) {
  auto begun = begin(options_.sender, options_.environment);
  if (!begun) {
    trouble = begun.error().message;
    return {};
  }
  Child child = *std::move(begun);
  {
    const std::lock_guard lock(mutex_);
    child_ = child.pid;
    if (stop_) ::kill(child.pid, SIGKILL);  // close() came before it was known
  }
  std::vector<std::string> done;
  std::string buffer;
  for (const auto& path : paths) {
    const json::object order{{"file", (options_.data / path).string()}, {"object", path.substr(kFolder.size())}};
    if (!send_all(child.socket.get(), json::serialize(order) + '\n')) {
      trouble = "the sender ended";
      break;
    }
    const std::string line = next_line(child.socket.get(), buffer);
    boost::system::error_code error;
    const json::value said = json::parse(line, error);
    const auto* problem = !error && said.is_object() ? said.get_object().if_contains("error") : nullptr;
    if (!problem)
      trouble = line.empty() ? "the sender said nothing" : "the sender said what nobody understands";
    else if (problem->is_string())
      trouble = std::string(problem->get_string()).substr(0, 500);
    if (!trouble.empty()) break;
    done.push_back(path);
  }
  child.socket = FileDescriptor();  // the end of its orders: it leaves
  {
    const std::lock_guard lock(mutex_);
    child_ = 0;
  }
  if (!trouble.empty()) ::kill(child.pid, SIGKILL);
  ::waitpid(child.pid, nullptr, 0);
  return done;
}

}  // namespace fused
