#include "served_folder.hpp"

#include <spdlog/spdlog.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/text.hpp"
#include "functions/function_json.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;
constexpr std::uintmax_t kFileBytesMax = 16 << 20;
constexpr std::uintmax_t kHeaderBytesMax = 4 << 20;
constexpr std::string_view kDecorator = "@fused.udf";
constexpr auto kAskAgain = std::chrono::milliseconds(200);

bool is_source(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  return file.extension() == ".py" && !name.starts_with('.') && !name.starts_with('_');
}

std::optional<std::string> read_text(const std::filesystem::path& file, std::uintmax_t bytes_max) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return std::nullopt;
  const auto size = std::filesystem::file_size(file, error);
  std::ifstream stream(file, std::ios::binary);
  if (error || !stream || size > bytes_max) return std::nullopt;
  std::ostringstream text;
  text << stream.rdbuf();
  return std::move(text).str();
}

std::string text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

bool is_true(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_bool() && value->get_bool();
}

}  // namespace

ServedFolder::ServedFolder(asio::io_context& io, std::filesystem::path folder, FunctionStore& functions,
                           FunctionOwner owner, Describe describe)
    : io_(io),
      folder_(std::filesystem::absolute(folder).lexically_normal()),
      functions_(functions),
      owner_(std::move(owner)),
      describe_(std::move(describe)),
      events_(io),
      again_(io) {
  if (!folder_.has_filename()) folder_ = folder_.parent_path();  // "functions/" and "." end with a slash now
}

Status ServedFolder::load() {
  std::error_code error;
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error))
    if (entry.is_regular_file(error) && is_source(entry.path())) files.insert(entry.path());
  if (error)
    return fail(ErrorKind::invalid_argument,
                "the folder '" + folder_.string() + "' cannot be read: " + error.message());
  for (const auto& file : files) load_file(file);
  if (files.empty()) spdlog::warn("there is no .py file in '{}'; nothing is served from it", folder_.string());
  return {};
}

std::set<std::string> ServedFolder::names() const {
  std::set<std::string> names;
  for (const auto& [file, state] : files_)
    for (const auto& [name, key] : state.names) names.insert(name);
  return names;
}

void ServedFolder::load_file(const std::filesystem::path& file) {
  auto text = read_text(file, kFileBytesMax);
  if (!text) return spdlog::warn("'{}' cannot be read, or is over 16 MiB; skipped", file.string());
  const bool may_hold_one = text->find("udf") != std::string::npos && text->find("fused") != std::string::npos;
  if (!may_hold_one) {
    forget(file);
    return spdlog::info("'{}' holds no @fused.udf; skipped", file.filename().string());
  }
  const bool is_new = !files_.contains(file);
  const std::uint64_t version = files_[file].version = ++versions_;
  if (!is_utf8(*text) || (is_new && text->find(kDecorator) != std::string::npos)) serve_as_it_is(file, *text);
  if (!is_utf8(*text)) return;
  std::erase_if(pending_, [&](const Pending& one) { return one.file == file; });
  pending_.push_back({file, std::move(*text), version});
  if (!std::exchange(describing_, true)) asio::co_spawn(io_, describe_pending(), asio::detached);
}

// A full queue is no reason to serve less than the file holds.
asio::awaitable<Result<std::string>> ServedFolder::ask_worker(const std::string& text) {
  const std::string header = json::serialize(json::object{{"text", text}});
  for (;;) {
    auto said = co_await describe_(header);
    if (said || said.error().kind != ErrorKind::too_many_requests) co_return said;
    again_.expires_after(kAskAgain);
    boost::system::error_code stopped;
    co_await again_.async_wait(asio::redirect_error(asio::use_awaitable, stopped));
    if (stopped) co_return said;
  }
}

asio::awaitable<void> ServedFolder::describe_pending() {
  while (!pending_.empty()) {
    const Pending one = std::move(pending_.front());
    pending_.pop_front();
    const auto said = co_await ask_worker(one.text);
    const auto found = files_.find(one.file);
    if (found == files_.end() || found->second.version != one.version) continue;  // gone, or a newer text is on its way
    boost::system::error_code error;
    const json::value value = said ? json::parse(*said, error) : json::value();
    if (said && !error && value.is_object()) {
      take_description(one.file, one.text, value.get_object());
      continue;
    }
    spdlog::warn("'{}' is served as it is: {}", one.file.filename().string(),
                 said ? "a worker described it in no JSON object" : said.error().message);
    serve_as_it_is(one.file, one.text);
  }
  describing_ = false;
}

void ServedFolder::take_description(const std::filesystem::path& file, const std::string& text,
                                    const json::object& said) {
  if (const auto* error = said.if_contains("error"); error && error->is_object()) {
    // Whoever runs it is told the same.
    spdlog::warn("'{}' cannot be read as Python: {}", file.filename().string(),
                 text_of(error->get_object(), "message"));
    return serve_as_it_is(file, text);
  }
  const auto* udfs = said.if_contains("udfs");
  if (!udfs || !udfs->is_array() || udfs->get_array().empty()) {
    forget(file);
    return spdlog::info("'{}' holds no @fused.udf; skipped", file.filename().string());
  }
  File& state = files_[file];
  state.headers.clear();
  std::vector<Wanted> wanted;
  bool has_main = false;
  for (const auto& udf : udfs->get_array()) {
    if (!udf.is_object()) continue;
    has_main |= is_true(udf.get_object(), "is_main");
    auto one = wanted_of(file, text, udf.get_object(), state);
    if (one)
      wanted.push_back(*std::move(one));
    else
      spdlog::warn("'{}': {}", file.filename().string(), one.error().message);
  }
  // The file's own name then says which functions there are.
  if (!has_main)
    if (auto source = function_of_json({{"name", file.stem().string()}, {"code", text}}))
      wanted.push_back({*std::move(source), file.string()});
  serve(file, std::move(wanted));
}

Result<ServedFolder::Wanted> ServedFolder::wanted_of(const std::filesystem::path& file, const std::string& text,
                                                     const json::object& udf, File& state) {
  const std::string entrypoint = text_of(udf, "entrypoint");
  const bool is_main = is_true(udf, "is_main");
  std::string name = text_of(udf, "name");
  if (name.empty()) name = is_main ? file.stem().string() : entrypoint;
  json::object function{{"name", name}, {"code", text}, {"headers", read_headers(file, udf, state)}};
  function["entrypoint"] = entrypoint;
  if (const auto* age = udf.if_contains("cache_max_age"); age && !age->is_null()) function["cache_max_age"] = *age;
  return Wanted{FUSED_TRY(function_of_json(function)), is_main ? file.string() : file.string() + '#' + entrypoint};
}

json::array ServedFolder::read_headers(const std::filesystem::path& file, const json::object& udf, File& state) {
  json::array modules;
  const auto* listed = udf.if_contains("headers");
  if (!listed || !listed->is_array()) return modules;
  for (const auto& item : listed->get_array()) {
    const std::string named = item.is_string() ? std::string(item.get_string()) : std::string();
    if (named.starts_with("http://") || named.starts_with("https://")) {
      spdlog::warn("'{}': the header '{}' is not fetched; save it beside the file", file.filename().string(), named);
      continue;
    }
    const auto path = (file.parent_path() / named).lexically_normal();
    state.headers.insert(path);
    if (!watched_.empty()) watch_folder(path.parent_path());
    const auto text = read_text(path, kHeaderBytesMax);
    if (!text || !is_utf8(*text)) {
      spdlog::warn("'{}': the header '{}' is not there, is no UTF-8 text or is over 4 MiB", file.filename().string(),
                   path.string());
      continue;
    }
    const std::string module = path.filename().string();
    modules.push_back(json::object{{"module_name", module.substr(0, module.find('.'))}, {"source_code", *text}});
  }
  return modules;
}

void ServedFolder::serve_as_it_is(const std::filesystem::path& file, const std::string& text) {
  auto source = function_of_json({{"name", file.stem().string()}, {"code", text}});
  if (!source) return spdlog::warn("'{}' is not served: {}", file.filename().string(), source.error().message);
  std::vector<Wanted> wanted;
  wanted.push_back({*std::move(source), file.string()});
  serve(file, std::move(wanted));
}

// The file's functions are these from now on.
void ServedFolder::serve(const std::filesystem::path& file, std::vector<Wanted> wanted) {
  File& state = files_[file];
  const auto before = std::exchange(state.names, {});
  const bool is_told = std::exchange(state.told, state.version) == state.version;
  std::set<std::string> now;
  for (const Wanted& one : wanted) now.insert(one.source.name);
  for (const auto& [name, key] : before)
    if (!now.contains(name)) functions_.remove_folder_function(owner_.id, name);
  for (Wanted& one : wanted) {
    const std::string name = one.source.name;
    if (const auto old = before.find(name); old != before.end() && old->second != one.key)
      functions_.remove_folder_function(owner_.id, name);  // another function of the file has the name now
    if (const auto put = functions_.put_folder_function(owner_, std::move(one.source), one.key); !put) {
      spdlog::warn("'{}' is not served: {}", file.filename().string(), put.error().message);
      continue;
    }
    state.names[name] = one.key;
    if (is_told && before.contains(name)) continue;
    spdlog::info("{} function '{}' from {}", before.contains(name) ? "reloaded" : "serving", name,
                 file.filename().string());
  }
}

void ServedFolder::forget(const std::filesystem::path& file) {
  const auto found = files_.find(file);
  if (found == files_.end()) return;
  for (const auto& [name, key] : found->second.names) {
    functions_.remove_folder_function(owner_.id, name);
    spdlog::info("function '{}' is no longer served", name);
  }
  files_.erase(found);
}

Status ServedFolder::watch() {
  const int descriptor = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (descriptor < 0) return fail_errno("inotify_init1", errno);
  events_.assign(descriptor);
  const int number = ::inotify_add_watch(descriptor, folder_.c_str(), kEvents);
  if (number < 0) return fail_errno("inotify_add_watch '" + folder_.string() + "'", errno);
  watched_[number] = folder_;
  for (const auto& [file, state] : files_)
    for (const auto& header : state.headers) watch_folder(header.parent_path());
  asio::co_spawn(io_, read_events(), asio::detached);
  return {};
}

// Of a header that lies elsewhere.
void ServedFolder::watch_folder(const std::filesystem::path& folder) {
  const int number = ::inotify_add_watch(events_.native_handle(), folder.c_str(), kEvents);
  if (number >= 0)
    watched_.try_emplace(number, folder);
  else
    spdlog::warn("changes in '{}' are not seen: {}", folder.string(),
                 std::error_code(errno, std::generic_category()).message());
}

void ServedFolder::changed(const std::filesystem::path& file, bool is_there) {
  std::set<std::filesystem::path> users;
  for (const auto& [path, state] : files_)
    if (path != file && state.headers.contains(file)) users.insert(path);
  for (const auto& user : users) load_file(user);
  if (file.parent_path() != folder_ || !is_source(file)) return;
  if (is_there)
    load_file(file);
  else
    forget(file);
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
      const auto folder = watched_.find(event->wd);
      if (folder == watched_.end() || event->len == 0) continue;
      changed(folder->second / event->name, !(event->mask & (IN_DELETE | IN_MOVED_FROM)));
    }
  }
}

void ServedFolder::stop() {
  boost::system::error_code ignored;
  events_.close(ignored);
  again_.cancel();
}

}  // namespace fused
