#include "jobs/job_output.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/ids.hpp"

namespace fused {
namespace fs = std::filesystem;
namespace json = boost::json;
namespace {

constexpr std::string_view kSuffix = ".parts-";
constexpr std::size_t kDigits = 12;

std::string text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

const json::object* object_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value ? value->if_object() : nullptr;
}

// ".parts-" and 12 digits at the end, with a name before it.
bool is_parts_folder(std::string_view path) {
  if (path.size() < kSuffix.size() + kDigits + 1) return false;
  const std::string_view end = path.substr(path.size() - kSuffix.size() - kDigits);
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return end.starts_with(kSuffix) && std::ranges::all_of(end.substr(kSuffix.size()), is_digit) &&
         path[path.size() - end.size() - 1] != '/';
}

// Below DIR/mount; "" for what does not lie on /mount, or where functions themselves may not write.
std::string below_mount(const DataFolder& data, std::string_view folder) {
  for (const std::string& mount : {std::string("/mount"), fs::absolute(data.mount()).string()}) {
    if (!folder.starts_with(mount + '/')) continue;
    const std::string path(folder.substr(mount.size() + 1));
    if (path.starts_with("fused-system/") || !check_relative_path(path)) return "";
    return path;
  }
  return "";
}

}  // namespace

std::string parts_folder_of(const JobConfig& config) {
  if (config.steps.size() < 2) return "";
  const json::object* udf = object_of(config.steps.back().source, "udf");
  if (udf == nullptr || text_of(*udf, "entrypoint") != "make_table") return "";
  const json::object* given = object_of(*udf, "parameters");
  if (given == nullptr) return "";
  std::string folder = text_of(*given, "parts");
  std::string table = text_of(*given, "table");
  while (table.ends_with('/')) table.pop_back();
  return is_parts_folder(folder) && folder.starts_with(table + std::string(kSuffix)) ? folder : "";
}

std::string parts_note(std::string_view folder, const DataFolder& data) {
  return "what its tasks make lies in " + std::string(folder) +
         " until the table is made; if the job fails or is canceled it stays for a retry" +
         (below_mount(data, folder).empty() ? ": remove it by hand when there will be none"
                                            : " and goes when the job and its retries are removed");
}

Status remove_parts(const DataFolder& data, std::string_view folder) {
  const std::string path = is_parts_folder(folder) ? below_mount(data, folder) : "";
  if (path.empty()) return {};
  const PathResolver mount = FUSED_TRY(data.files().beneath("mount"));
  const auto opened = mount.open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!opened) return opened.error().kind == ErrorKind::not_found ? Status() : std::unexpected(opened.error());
  const std::size_t slash = path.rfind('/');  // npos: on /mount itself
  FileDescriptor above;
  if (slash != std::string::npos) above = FUSED_TRY(mount.open_file(path.substr(0, slash), O_RDONLY | O_DIRECTORY));
  const int parent = above ? above.get() : mount.root_fd();
  // By the descriptor: no name above it can be turned into a link meanwhile.
  const fs::path held = "/proc/self/fd/" + std::to_string(opened->get());
  for (const std::string& name : FUSED_TRY(mount.list(path))) {
    if (!is_uuid(name)) continue;
    std::error_code error;
    fs::remove_all(held / name, error);
    if (error) return fail_errno("removing " + path + '/' + name, error.value());
  }
  if (::unlinkat(parent, path.substr(slash + 1).c_str(), AT_REMOVEDIR) != 0 && errno != ENOTEMPTY && errno != ENOENT &&
      errno != EEXIST)
    return fail_errno("removing " + path, errno);
  return {};
}

}  // namespace fused
