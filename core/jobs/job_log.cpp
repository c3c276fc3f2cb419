#include "jobs/job_log.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <cstring>

#include "logs/json_text.hpp"
#include "storage/file_descriptor.hpp"

namespace fused {
namespace asio = boost::asio;
namespace {

constexpr std::string_view kBegin = "{\"timestamp\":";

std::int64_t size_of(const std::filesystem::path& file) {
  struct stat about{};
  return ::stat(file.c_str(), &about) == 0 ? about.st_size : 0;
}

std::string read_at(int file, std::int64_t from, std::size_t bytes) {
  std::string text(bytes, '\0');
  std::size_t got = 0;
  while (got < bytes) {
    const ssize_t n = ::pread(file, text.data() + got, bytes - got, from + static_cast<std::int64_t>(got));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    got += static_cast<std::size_t>(n);
  }
  text.resize(got);
  return text;
}

// What a kill has torn is not a line.
bool is_line(std::string_view line) { return line.starts_with(kBegin) && line.ends_with('}'); }

std::int64_t time_of(std::string_view line) {
  std::int64_t time = 0;
  if (line.starts_with(kBegin)) std::from_chars(line.data() + kBegin.size(), line.data() + line.size(), time);
  return time;
}

// The first whole line that begins at or behind `at`: its place and time.
std::optional<std::pair<std::int64_t, std::int64_t>> line_behind(int file, std::int64_t at, std::int64_t size) {
  constexpr std::size_t kLook = 2 * JobLogs::kLineBytesMax;
  if (at > 0) {
    // The line feed before `at` may itself be the border.
    bool found = false;
    for (std::int64_t from = at - 1; from < size && !found; from += kLook) {
      const std::string text = read_at(file, from, kLook);
      if (text.empty()) return std::nullopt;
      if (const auto feed = text.find('\n'); feed != std::string::npos) {
        at = from + static_cast<std::int64_t>(feed) + 1;
        found = true;
      }
    }
    if (!found) return std::nullopt;
  }
  if (at >= size) return std::nullopt;
  return std::pair{at, time_of(read_at(file, at, 64))};
}

std::int64_t place_since(const std::filesystem::path& path, std::int64_t since_ms) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 || since_ms <= 0) return 0;
  const std::int64_t size = size_of(path);
  std::int64_t low = 0, high = size;  // every line that begins before `low` is older; none from `high` on is
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    const auto line = line_behind(file.get(), middle, size);
    if (!line || line->second >= since_ms)
      high = middle;
    else
      low = line->first + 1;
  }
  const auto line = line_behind(file.get(), low, size);
  return line ? line->first : size;
}

JobLogs::Part read_part(const std::filesystem::path& path, std::int64_t from, std::size_t bytes_max) {
  JobLogs::Part part{{}, from};
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return part;
  const std::int64_t size = size_of(path);
  if (from < 0 || from >= size) return part;
  const std::string text =
      read_at(file.get(), from, std::min<std::size_t>(bytes_max, static_cast<std::size_t>(size - from)));
  std::size_t at = 0;
  for (std::size_t feed = text.find('\n'); feed != std::string::npos; feed = text.find('\n', at)) {
    if (is_line(std::string_view(text).substr(at, feed - at))) part.lines.append(text, at, feed + 1 - at);
    at = feed + 1;
  }
  part.end = from + static_cast<std::int64_t>(at);
  return part;
}

// Gives the size afterwards, or -1.
std::int64_t append(const std::filesystem::path& path, std::string_view lines) {
  const FileDescriptor file(::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (file.get() < 0) return -1;
  struct stat about{};
  ::fstat(file.get(), &about);
  std::string mended;
  if (about.st_size > 0 && read_at(file.get(), about.st_size - 1, 1) != "\n") {  // torn by a kill
    mended = '\n' + std::string(lines);
    lines = mended;
  }
  while (!lines.empty()) {
    const ssize_t n = ::write(file.get(), lines.data(), lines.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return -1;
    lines.remove_prefix(static_cast<std::size_t>(n));
  }
  ::fstat(file.get(), &about);
  return about.st_size;
}

}  // namespace

JobLogs::Open& JobLogs::open(const std::string& job_id) {
  Open& log = open_[job_id];
  if (log.bytes < 0) {
    log.written = size_of(file(job_id));
    log.bytes = log.written;
    log.number = ++opens_;
  }
  return log;
}

void JobLogs::add(const std::string& job_id, std::int64_t task, std::string_view stream, std::string_view message,
                  std::optional<std::int64_t> at_ms) {
  // Also what an error's text brings: a line must fit into the piece that one reads at a time.
  for (; message.size() > kLineBytesMax; message.remove_prefix(kLineBytesMax))
    add(job_id, task, stream, message.substr(0, kLineBytesMax));
  Open& log = open(job_id);
  if (stream != "job" && log.bytes + static_cast<std::int64_t>(message.size()) > kBytesMax) {
    ++figures_.dropped;
    if (log.dropped++ > 0) return;
    stream = "job";
    message = "the log has its 32 MiB: what functions print from here on is not kept in it";
    task = -1;
  }
  const auto now = std::chrono::floor<std::chrono::milliseconds>(clock_.now().time_since_epoch()).count();
  last_ms_ = std::max<std::int64_t>(last_ms_, now);
  const std::size_t before = log.pending.size();
  log.pending += kBegin;
  log.pending += std::to_string(std::min(at_ms.value_or(last_ms_), last_ms_)) + ",\"task\":" + std::to_string(task) +
                 ",\"stream\":\"";
  log.pending += stream;
  log.pending += "\",\"message\":";
  append_json_string(log.pending, message);
  log.pending += "}\n";
  log.bytes += static_cast<std::int64_t>(log.pending.size() - before);
  ++figures_.lines;
  if (!log.flushing) flush(job_id, log);
}

// One write for what has come while the one before was under way.
void JobLogs::flush(const std::string& job_id, Open& log) {
  log.flushing = true;
  files_.post([this, job_id, path = file(job_id), lines = std::exchange(log.pending, {})] {
    const std::int64_t size = append(path, lines);
    asio::post(io_, [this, job_id, size, error = errno] {
      const auto found = open_.find(job_id);
      if (found == open_.end()) return;
      Open& log = found->second;
      log.flushing = false;
      ++log.writes;
      if (size < 0) {
        ++figures_.dropped;
        spdlog::warn("lines of job {} could not be written to its log: {}", job_id, std::strerror(error));
      } else {
        log.written = size;
      }
      if (!log.pending.empty()) flush(job_id, log);
      wake(log);
      if (!log.flushing && (log.ended || log.dropped == 0)) open_.erase(found);
    });
  });
}

void JobLogs::wake(Open& log) {
  for (auto* waiter : std::exchange(log.waiters, {})) waiter->cancel();
}

void JobLogs::end(const std::string& job_id) {
  ++ends_;
  const auto found = open_.find(job_id);
  if (found == open_.end()) return;
  if (found->second.dropped > 0)
    add(job_id, -1, "job", std::to_string(found->second.dropped) + " lines that functions printed were not kept");
  found->second.ended = true;
  wake(found->second);
  if (!found->second.flushing) open_.erase(found);
}

asio::awaitable<void> JobLogs::flushed(std::string job_id) {
  const auto now = open_.find(job_id);
  if (now == open_.end()) co_return;
  const std::uint64_t number = now->second.number;
  const std::uint64_t writes = now->second.writes + (now->second.pending.empty() ? 1 : 2);
  for (;;) {
    const auto found = open_.find(job_id);
    if (found == open_.end() || !found->second.flushing) co_return;
    if (found->second.number != number || found->second.writes >= writes) co_return;
    asio::steady_timer timer(io_, std::chrono::seconds(60));
    found->second.waiters.push_back(&timer);
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if (const auto after = open_.find(job_id); after != open_.end()) after->second.waiters.remove(&timer);
  }
}

asio::awaitable<JobLogs::Part> JobLogs::read(std::string job_id, std::int64_t from, std::size_t bytes_max) {
  auto work = [path = file(job_id), from, bytes_max] { return read_part(path, from, bytes_max); };
  co_return co_await files_.run(std::move(work));
}

asio::awaitable<std::int64_t> JobLogs::place_of(std::string job_id, std::int64_t since_ms) {
  auto work = [path = file(job_id), since_ms] { return place_since(path, since_ms); };
  co_return co_await files_.run(std::move(work));
}

asio::awaitable<void> JobLogs::wait(std::string job_id, std::int64_t from, std::uint64_t ends,
                                    std::chrono::milliseconds patience) {
  if (ends != ends_) co_return;
  const auto found = open_.find(job_id);
  if (found != open_.end() && found->second.written > from) co_return;
  asio::steady_timer timer(io_, patience);
  open_[job_id].waiters.push_back(&timer);
  boost::system::error_code ignored;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  const auto after = open_.find(job_id);
  if (after == open_.end()) co_return;
  after->second.waiters.remove(&timer);
  if (after->second.bytes < 0 && after->second.waiters.empty()) open_.erase(after);
}

void JobLogs::wake_all() {
  for (auto& [job_id, log] : open_) wake(log);
}

}  // namespace fused
