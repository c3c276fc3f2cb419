#include "storage/path_resolver.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/text.hpp"
#include "storage/durable_write.hpp"
#include "storage/text.hpp"

namespace fused {
namespace {

FileDescriptor open_beneath(int root, const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<unsigned long long>(flags | O_CLOEXEC);
  if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: something was renamed while the kernel walked the path; the walk itself is to be repeated.
  for (int attempt = 0; attempt < 16; ++attempt) {
    const long descriptor = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
    if (descriptor >= 0) return FileDescriptor(static_cast<int>(descriptor));
    if (errno != EAGAIN && errno != EINTR) break;
  }
  return {};
}

std::unexpected<Error> open_failed(std::string_view path, int error_number) {
  const std::string name = "'" + shown(path) + "'";
  switch (error_number) {
    case ENOENT:
    case ENOTDIR: return fail(ErrorKind::not_found, name + " does not exist");
    case EXDEV:
    case ELOOP: return fail(ErrorKind::invalid_argument, name + " leads out of its folder");
    case ENAMETOOLONG: return fail(ErrorKind::invalid_argument, name + " is too long a path");
    default: return fail_errno("cannot open " + name, error_number);
  }
}

std::pair<std::string_view, std::string_view> split_last(std::string_view path) {
  const auto slash = path.rfind('/');
  if (slash == std::string_view::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

std::string shown(std::string_view value) {
  constexpr std::size_t bytes_max = 80;
  std::string text;
  std::string_view rest = value;
  while (!rest.empty() && value.size() - rest.size() < bytes_max) {
    std::string_view after = rest;
    const bool readable =
        next_code_point(after).has_value() && !has_control(rest.substr(0, rest.size() - after.size()));
    if (readable) {
      text += rest.substr(0, rest.size() - after.size());
      rest = after;
      continue;
    }
    char escape[8];
    std::snprintf(escape, sizeof escape, "\\x%02x", static_cast<unsigned char>(rest.front()));
    text += escape;
    rest.remove_prefix(1);
  }
  return rest.empty() ? text : text + "… (" + std::to_string(value.size()) + " bytes)";
}

Status check_component(std::string_view name) {
  const auto refuse = [&](std::string_view why) {
    return fail(ErrorKind::invalid_argument, "name '" + shown(name) + "' cannot be used: " + std::string(why));
  };
  if (name.empty()) return refuse("it is empty");
  if (name == "." || name == "..") return refuse("'.' and '..' are not names");
  if (name.size() > kComponentBytesMax)
    return refuse("it has " + std::to_string(name.size()) + " bytes, allowed are " +
                  std::to_string(kComponentBytesMax));
  if (name.find('/') != name.npos || name.find('\\') != name.npos) return refuse("it holds a '/' or a backslash");
  if (!is_utf8(name)) return refuse("it is not valid UTF-8");
  if (has_control(name)) return refuse("it holds a control character");
  return {};
}

Status check_relative_path(std::string_view path) {
  if (path.size() > kPathBytesMax)
    return fail(ErrorKind::invalid_argument,
                "path '" + shown(path) + "' is longer than " + std::to_string(kPathBytesMax));
  if (path.starts_with('/'))
    return fail(ErrorKind::invalid_argument, "path '" + shown(path) + "' begins with '/': paths here are relative");
  for (std::size_t begin = 0;;) {
    const auto end = path.find('/', begin);
    if (auto status = check_component(path.substr(begin, end == path.npos ? end : end - begin)); !status)
      return std::unexpected(status.error().within("path '" + shown(path) + "'"));
    if (end == path.npos) return {};
    begin = end + 1;
  }
}

Result<PathResolver> PathResolver::open(const std::filesystem::path& root) {
  FileDescriptor folder(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return fail_errno("cannot open the folder " + root.string(), errno);
  if (!open_beneath(folder.get(), ".", O_PATH | O_DIRECTORY, 0)) {
    if (errno == ENOSYS || errno == EPERM)
      return fail(ErrorKind::internal,
                  "this kernel offers no openat2 (Linux 5.6 or newer is needed, and a container's "
                  "filter must allow it); without it paths cannot be kept inside their folder");
    return fail_errno("openat2 on " + root.string(), errno);
  }
  return PathResolver(std::move(folder));
}

Result<PathResolver> PathResolver::beneath(std::string_view path) const {
  return PathResolver(FUSED_TRY(open_file(path, O_RDONLY | O_DIRECTORY)));
}

Result<FileDescriptor> PathResolver::open_file(std::string_view path, int flags, mode_t mode) const {
  FUSED_CHECK(check_relative_path(path));
  FileDescriptor file = open_beneath(root_.get(), std::string(path), flags, mode);
  if (!file) return open_failed(path, errno);
  return file;
}

Result<FileDescriptor> PathResolver::make_folders(WriteGate& gate, std::string_view path) const {
  FUSED_CHECK(check_relative_path(path));
  FUSED_CHECK(gate.check());
  FileDescriptor folder = open_beneath(root_.get(), std::string(path), O_RDONLY | O_DIRECTORY, 0);
  if (folder) return folder;
  if (errno != ENOENT) return open_failed(path, errno);
  const auto [parent_path, name] = split_last(path);
  FileDescriptor parent;
  if (parent_path.empty()) {
    parent = open_beneath(root_.get(), ".", O_RDONLY | O_DIRECTORY, 0);
    if (!parent) return open_failed(path, errno);
  } else {
    parent = FUSED_TRY(make_folders(gate, parent_path));
  }
  const std::string own(name);
  if (::mkdirat(parent.get(), own.c_str(), 0700) != 0 && errno != EEXIST)
    return fail_errno("cannot make the folder '" + shown(path) + "'", errno);
  FUSED_CHECK(sync_folder(gate, parent.get()));
  FileDescriptor made = open_beneath(parent.get(), own, O_RDONLY | O_DIRECTORY, 0);
  if (!made) return open_failed(path, errno);
  return made;
}

Result<std::string> PathResolver::read(std::string_view path, std::size_t bytes_max) const {
  const FileDescriptor file = FUSED_TRY(open_file(path, O_RDONLY | O_NONBLOCK));
  std::string bytes;
  char buffer[65'536];
  for (;;) {
    const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("cannot read '" + shown(path) + "'", errno);
    if (count == 0) return bytes;
    bytes.append(buffer, static_cast<std::size_t>(count));
    if (bytes.size() > bytes_max)
      return fail(ErrorKind::too_large, "'" + shown(path) + "' is larger than " + std::to_string(bytes_max) + " bytes");
  }
}

Result<std::vector<std::string>> PathResolver::list(std::string_view path) const {
  FileDescriptor folder;
  if (path.empty()) {
    folder = open_beneath(root_.get(), ".", O_RDONLY | O_DIRECTORY, 0);
    if (!folder) return open_failed(".", errno);
  } else {
    folder = FUSED_TRY(open_file(path, O_RDONLY | O_DIRECTORY));
  }
  const auto close_folder = [](DIR* entries) { ::closedir(entries); };
  std::unique_ptr<DIR, decltype(close_folder)> entries(::fdopendir(folder.get()), close_folder);
  if (!entries) return fail_errno("cannot list '" + shown(path) + "'", errno);
  folder.release();
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::ranges::sort(names);
  return names;
}

Result<bool> PathResolver::remove(WriteGate& gate, std::string_view path) const {
  FUSED_CHECK(check_relative_path(path));
  FUSED_CHECK(gate.check());
  const auto [parent_path, name] = split_last(path);
  FileDescriptor parent =
      open_beneath(root_.get(), parent_path.empty() ? "." : std::string(parent_path), O_RDONLY | O_DIRECTORY, 0);
  if (!parent && errno == ENOENT) return false;
  if (!parent) return open_failed(path, errno);
  const std::string own(name);
  if (::unlinkat(parent.get(), own.c_str(), 0) != 0) {
    if (errno == ENOENT) return false;
    if (errno != EISDIR || ::unlinkat(parent.get(), own.c_str(), AT_REMOVEDIR) != 0)
      return fail_errno("cannot remove '" + shown(path) + "'", errno);
  }
  FUSED_CHECK(sync_folder(gate, parent.get()));
  return true;
}

}  // namespace fused
