#include "run/cached_run_uses.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>

#include "logs/run_record.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::size_t kRecordBytesMax = 32 << 20;

std::string text(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

template <class T>
bool read_number(const std::string& text, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

std::optional<FileUse> file_use(const json::value& value) {
  if (!value.is_object()) return std::nullopt;
  const json::object& object = value.get_object();
  FileUse use;
  use.path = text(object, "path");
  const auto* size = object.if_contains("size");
  if (use.path.empty() || !size || !size->is_int64() || !read_number(text(object, "mtime_ns"), use.mtime_ns) ||
      !read_number(text(object, "inode"), use.inode))
    return std::nullopt;
  use.size = size->get_int64();
  return use;
}

}  // namespace

void RunUses::add(FunctionUse use) {
  if (std::ranges::find(functions, use) != functions.end()) return;
  if (functions.size() >= kUsedFunctionsMax)
    not_stored = "it used more than " + std::to_string(kUsedFunctionsMax) + " functions";
  else
    functions.push_back(std::move(use));
}
void RunUses::add(FileUse use) {
  const auto [at, is_new] = files_by_path_.try_emplace(use.path, files.size());
  if (!is_new) {
    if (files[at->second] != use) not_stored = "file '" + use.path + "' changed while it was read";
    return;
  }
  if (files.size() < kUsedFilesMax) return files.push_back(std::move(use));
  files_by_path_.erase(at);
  not_stored = "it read more than " + std::to_string(kUsedFilesMax) + " files";
}
void RunUses::add(const RunUses& other) {
  for (const auto& use : other.functions) add(use);
  for (const auto& use : other.files) add(use);
}

RunUses uses_of_result(const json::object& header) {
  RunUses uses;
  const auto* value = header.if_contains("uses");
  if (!value || !value->is_object()) return uses;
  const json::object& said = value->get_object();
  uses.not_stored = text(said, "not_stored");
  if (const auto* files = said.if_contains("files"); files && files->is_array())
    for (const auto& item : files->get_array()) {
      if (auto use = file_use(item))
        uses.add(*std::move(use));
      else
        uses.not_stored = "its worker named a file in a form that nobody knows";
    }
  return uses;
}

std::string files_json(const RunUses& uses) {
  if (uses.files.empty()) return {};
  constexpr std::size_t kLeftOutBytes = 32;  // {"left_out":4096}]
  std::string out = "[";
  std::size_t written = 0;
  for (const FileUse& file : uses.files) {
    const std::string one = json::serialize(
        json::object{{"path", file.path}, {"size", file.size}, {"mtime_ns", std::to_string(file.mtime_ns)}});
    if (out.size() + one.size() + kLeftOutBytes > kLoggedFilesBytesMax) break;
    out += (written++ == 0 ? "" : ",") + one;
  }
  if (written < uses.files.size())
    out += (written == 0 ? "" : ",") + json::serialize(json::object{{"left_out", uses.files.size() - written}});
  return out + ']';
}

std::string functions_json(const RunUses& uses) {
  if (uses.functions.empty()) return {};
  json::array functions;
  for (const FunctionUse& use : uses.functions)
    functions.push_back(json::object{{"id", use.id}, {"revision", use.revision}});
  return json::serialize(functions);
}

std::optional<FunctionUse> use_of_reply(const std::string& method, const std::string& target,
                                        const NestedReply& reply) {
  if (method != "GET" || !target.starts_with("/server/v1/udf/") || reply.status != 200 ||
      reply.body.view.size() > kRecordBytesMax)
    return std::nullopt;
  boost::system::error_code error;
  const json::value record = json::parse({reply.body.view.data(), reply.body.view.size()}, error);
  if (error || !record.is_object()) return std::nullopt;
  FunctionUse use{text(record.get_object(), "id"), text(record.get_object(), "revision")};
  if (use.id.empty() || use.revision.empty()) return std::nullopt;
  return use;
}

std::optional<std::filesystem::path> UseCheck::real_path(const std::string& path) const {
  const std::filesystem::path given(path);
  if (!given.is_absolute() || given != given.lexically_normal() || path.find('\0') != std::string::npos)
    return std::nullopt;
  if (path.starts_with("/mount/")) return mount_ / path.substr(7);
  if (path.starts_with(mount_.string() + '/')) return given;
  return std::nullopt;
}

std::string UseCheck::changed(const std::vector<FunctionUse>& functions) const {
  for (const auto& use : functions)
    if (revision_of_(use.id) != use.revision) return "function '" + use.id + "'";
  return {};
}

std::string UseCheck::changed(const std::vector<FileUse>& files) const {
  for (const auto& use : files) {
    const auto path = real_path(use.path);
    if (!path) return "file '" + use.path + "' (not below /mount)";
    struct stat is{};
    FileUse now{use.path};
    if (::stat(path->c_str(), &is) == 0)
      now = {use.path, is.st_size, is.st_mtim.tv_sec * 1'000'000'000LL + is.st_mtim.tv_nsec, is.st_ino};
    if (now != use) return "file '" + use.path + "'";
  }
  return {};
}

}  // namespace fused
