#include "served_folder.hpp"

#include <spdlog/spdlog.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <fstream>
#include <sstream>

#include "functions/function_json.hpp"

namespace fused {
namespace asio = boost::asio;
namespace {

constexpr std::uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;
constexpr std::uintmax_t kFileBytesMax = 16 << 20;

bool is_source(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  return file.extension() == ".py" && !name.starts_with('.') && !name.starts_with('_');
}

}  // namespace

ServedFolder::ServedFolder(asio::io_context& io, std::filesystem::path folder, FunctionStore& functions,
                           FunctionOwner owner)
    : io_(io),
      folder_(std::filesystem::absolute(folder)),
      functions_(functions),
      owner_(std::move(owner)),
      events_(io) {}

Status ServedFolder::load() {
  std::error_code error;
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error))
    if (entry.is_regular_file(error) && is_source(entry.path())) files.insert(entry.path());
  if (error)
    return fail(ErrorKind::invalid_argument,
                "the folder '" + folder_.string() + "' cannot be read: " + error.message());
  for (const auto& file : files) load_file(file);
  if (names_.empty()) spdlog::warn("no .py file in '{}' holds @fused.udf; nothing is served from it", folder_.string());
  return {};
}

void ServedFolder::load_file(const std::filesystem::path& file) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  std::ifstream stream(file, std::ios::binary);
  if (error || !stream || size > kFileBytesMax)
    return spdlog::warn("'{}' cannot be read, or is over 16 MiB; skipped", file.string());
  std::ostringstream text;
  text << stream.rdbuf();
  boost::json::object udf{{"name", file.stem().string()}, {"code", text.str()}};
  if (text.view().find("@fused.udf") == std::string_view::npos) {
    forget(file);
    return spdlog::info("'{}' holds no @fused.udf; skipped", file.filename().string());
  }
  auto source = function_of_json(udf);
  const auto put = source ? functions_.put_folder_function(owner_, std::move(*source), file.string())
                          : Result<std::string>(std::unexpected(source.error()));
  if (!put) return spdlog::warn("'{}' is not served: {}", file.filename().string(), put.error().message);
  const bool is_new = names_.insert(file.stem().string()).second;
  spdlog::info("{} function '{}' from {}", is_new ? "serving" : "reloaded", file.stem().string(),
               file.filename().string());
}

void ServedFolder::forget(const std::filesystem::path& file) {
  if (names_.erase(file.stem().string()) == 0) return;
  functions_.remove_folder_function(owner_.id, file.stem().string());
  spdlog::info("function '{}' is no longer served", file.stem().string());
}

Status ServedFolder::watch() {
  const int descriptor = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (descriptor < 0) return fail_errno("inotify_init1", errno);
  events_.assign(descriptor);
  if (::inotify_add_watch(descriptor, folder_.c_str(), kEvents) < 0)
    return fail_errno("inotify_add_watch '" + folder_.string() + "'", errno);
  asio::co_spawn(io_, read_events(), asio::detached);
  return {};
}

asio::awaitable<void> ServedFolder::read_events() {
  alignas(inotify_event) std::array<char, 16 << 10> bytes;
  for (;;) {
    boost::system::error_code error;
    co_await events_.async_wait(asio::posix::stream_descriptor::wait_read,
                                asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    const ssize_t count = ::read(events_.native_handle(), bytes.data(), bytes.size());
    for (ssize_t at = 0; at < count;) {
      const auto* event = reinterpret_cast<const inotify_event*>(bytes.data() + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      if (event->mask & IN_Q_OVERFLOW) {
        (void)load();
        continue;
      }
      const std::filesystem::path file = folder_ / (event->len ? event->name : "");
      if (!is_source(file)) continue;
      if (event->mask & (IN_DELETE | IN_MOVED_FROM))
        forget(file);
      else
        load_file(file);
    }
  }
}

void ServedFolder::stop() {
  boost::system::error_code ignored;
  events_.close(ignored);
}

}  // namespace fused
