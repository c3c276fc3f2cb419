#include "logs/shared_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

namespace fused {
namespace {

constexpr unsigned kSharedMode = 0444;  // one slip of a function's `open(…, "w")` would change the file in every folder

}  // namespace

Status write_new_file(int folder, const char* path, std::string_view content, unsigned mode) {
  const FileDescriptor file(::openat(folder, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!file) return folder_error("cannot make log file " + std::string(path), errno);
  while (!content.empty()) {
    const ssize_t written = ::write(file.get(), content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int error = written < 0 ? errno : ENOSPC;
      ::unlinkat(folder, path, 0);
      return folder_error("cannot write log file " + std::string(path), error);
    }
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

bool SharedFiles::may_link(const File& file) const {
  if (file.links >= options_.links_max) return false;
  struct stat now{};  // a function of the same user can reach the file through a link and change it
  return ::fstatat(tree_.aside(), file.name.c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0 && now.st_ino == file.inode &&
         static_cast<std::uint64_t>(now.st_size) == file.size;
}

Status SharedFiles::link_known(File& file, int folder, const char* path) {
  if (::linkat(tree_.aside(), file.name.c_str(), folder, path, 0) != 0)
    return folder_error("cannot link log file " + std::string(path), errno);
  ++file.links;
  used_.splice(used_.begin(), used_, file.used);
  return {};
}

Status SharedFiles::link_fresh(const std::string& key, int folder, const char* path, std::string_view content) {
  if (!links_work_) return write_new_file(folder, path, content, 0644);
  drop(key);
  if (files_.size() >= options_.files_max) drop(std::string(used_.back()));
  File file;
  file.name = "s" + std::to_string(++made_);
  ::unlinkat(tree_.aside(), file.name.c_str(), 0);
  FUSED_CHECK(write_new_file(tree_.aside(), file.name.c_str(), content, kSharedMode));
  struct stat made{};
  if (::fstatat(tree_.aside(), file.name.c_str(), &made, AT_SYMLINK_NOFOLLOW) != 0)
    return folder_error("cannot read log file " + file.name, errno);
  file.inode = made.st_ino;
  file.size = content.size();
  if (::linkat(tree_.aside(), file.name.c_str(), folder, path, 0) != 0) {
    const int error = errno;
    ::unlinkat(tree_.aside(), file.name.c_str(), 0);
    if (error != EPERM && error != EOPNOTSUPP && error != EMLINK) return folder_error("cannot link log file", error);
    links_work_ = error == EMLINK;
    return write_new_file(folder, path, content, 0644);
  }
  file.links = 1;
  used_.push_front(key);
  file.used = used_.begin();
  files_.emplace(key, std::move(file));
  return {};
}

std::uint64_t SharedFiles::inode_of(const std::string& key) const {
  const auto known = files_.find(key);
  return known != files_.end() && known->second.links < options_.links_max ? known->second.inode : 0;
}

void SharedFiles::drop(const std::string& key) {
  const auto known = files_.find(key);
  if (known == files_.end()) return;
  ::unlinkat(tree_.aside(), known->second.name.c_str(), 0);
  used_.erase(known->second.used);
  files_.erase(known);
}

void SharedFiles::forget_all() {
  for (const auto& [key, file] : files_) ::unlinkat(tree_.aside(), file.name.c_str(), 0);
  files_.clear();
  used_.clear();
}

}  // namespace fused
