#include "functions/history_outbox.hpp"

#include <signal.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <unordered_set>

#include "storage/line_child.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::size_t kBatch = 256;
constexpr auto kFirstPause = std::chrono::seconds(1);
constexpr auto kLongestPause = std::chrono::seconds(60);
constexpr auto kPatience = std::chrono::seconds(60);  // with one object; then it is sent again later
constexpr auto kLeavePatience = std::chrono::seconds(5);
constexpr std::string_view kFolder = "s3/";  // of DIR; below it bucket and key

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
  auto child = LineChild::start(options_.sender, options_.environment);
  if (!child) {
    trouble = child.error().message;
    return {};
  }
  {
    const std::lock_guard lock(mutex_);
    child_ = child->pid();
    if (stop_) ::kill(child_, SIGKILL);  // close() came before it was known
  }
  std::vector<std::string> done;
  for (const auto& path : paths) {
    const json::object order{{"file", (options_.data / path).string()}, {"object", path.substr(kFolder.size())}};
    const std::string line = child->ask(json::serialize(order), kPatience);
    boost::system::error_code error;
    const json::value said = json::parse(line, error);
    const auto* problem = !error && said.is_object() ? said.get_object().if_contains("error") : nullptr;
    if (!problem)
      trouble = line.empty() ? "the sender ended or said nothing" : "the sender said what nobody understands";
    else if (problem->is_string())
      trouble = std::string(problem->get_string()).substr(0, 500);
    if (!trouble.empty()) break;
    done.push_back(path);
  }
  {
    const std::lock_guard lock(mutex_);
    child_ = 0;
  }
  if (trouble.empty()) child->let_go(kLeavePatience);
  return done;
}

}  // namespace fused
