#include "logs/log_tree.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

namespace fused {
namespace {

constexpr std::size_t kParentsKept = 128;
constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// Renames and links must work between the two; equal device numbers do not promise it (two mounts of one disk).
bool can_rename(int from, int to) {
  constexpr const char* kProbe = ".probe";
  ::unlinkat(to, kProbe, AT_REMOVEDIR);
  if (::mkdirat(from, kProbe, 0700) != 0) return false;
  const bool renamed = ::renameat(from, kProbe, to, kProbe) == 0;
  ::unlinkat(renamed ? to : from, kProbe, AT_REMOVEDIR);
  return renamed;
}

}  // namespace

std::unexpected<Error> folder_error(std::string_view call, int error_number) {
  auto error = fail_errno(call, error_number);
  if (error_number == ENAMETOOLONG || error_number == EMLINK || error_number == EILSEQ || error_number == EINVAL)
    error.error().kind = ErrorKind::invalid_argument;
  return error;
}

Result<std::unique_ptr<LogTree>> LogTree::open(const std::filesystem::path& mount,
                                               const std::filesystem::path& journal) {
  auto tree = std::make_unique<LogTree>();
  tree->mount_path_ = mount;
  tree->logs_path_ = mount / "fused-system/logs";
  std::error_code error;
  std::filesystem::create_directories(mount, error);
  if (error) return folder_error("cannot make " + mount.string(), error.value());
  std::filesystem::create_directories(journal, error);
  if (error) return folder_error("cannot make " + journal.string(), error.value());
  tree->aside_path_ = journal / "aside";
  FUSED_CHECK(tree->reopen());
  if (!can_rename(tree->aside(), tree->logs())) {
    std::filesystem::remove_all(tree->aside_path_, error);
    tree->aside_path_ = tree->logs_path_ / ".aside";
    FUSED_CHECK(tree->reopen());
  }
  std::filesystem::remove_all(tree->aside_path_, error);
  if (error) return folder_error("cannot empty " + tree->aside_path_.string(), error.value());
  FUSED_CHECK(tree->reopen());
  return tree;
}

Status LogTree::reopen() {
  parents_by_key_.clear();
  parents_.clear();
  const FileDescriptor mount(::open(mount_path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!mount) return folder_error("cannot open " + mount_path_.string(), errno);
  const FileDescriptor system = FUSED_TRY(open_or_make(mount.get(), "fused-system"));
  logs_ = FUSED_TRY(open_or_make(system.get(), "logs"));
  if (aside_path_.parent_path() == logs_path_) {
    aside_ = FUSED_TRY(open_or_make(logs_.get(), ".aside"));
    return {};
  }
  if (::mkdir(aside_path_.c_str(), 0700) != 0 && errno != EEXIST)
    return folder_error("cannot make " + aside_path_.string(), errno);
  aside_ = FileDescriptor(::open(aside_path_.c_str(), kFolderFlags));
  return aside_ ? Status{} : folder_error("cannot open " + aside_path_.string(), errno);
}

Result<FileDescriptor> LogTree::open_or_make(int folder, const std::string& name) {
  for (int attempt = 0; attempt < 3; ++attempt) {
    FileDescriptor opened(::openat(folder, name.c_str(), kFolderFlags));
    if (opened) return opened;
    if (errno == ENOENT) {
      if (::mkdirat(folder, name.c_str(), 0755) != 0 && errno != EEXIST)
        return folder_error("cannot make folder " + name, errno);
    } else if ((errno == ENOTDIR || errno == ELOOP) && aside_) {
      FUSED_CHECK(discard(folder, name));
    } else {
      return folder_error("cannot open folder " + name, errno);
    }
  }
  return folder_error("cannot open folder " + name, ENOENT);
}

Result<int> LogTree::parent(const RunPath& path) {
  std::string key = path.date + '/' + path.hhmm + '/' + path.email;
  if (const auto known = parents_by_key_.find(key); known != parents_by_key_.end()) {
    parents_.splice(parents_.begin(), parents_, known->second);
    return parents_.front().folder.get();
  }
  const FileDescriptor day = FUSED_TRY(open_or_make(logs_.get(), path.date));
  const FileDescriptor minute = FUSED_TRY(open_or_make(day.get(), path.hhmm));
  FileDescriptor folder = FUSED_TRY(open_or_make(minute.get(), path.email));
  if (parents_.size() >= kParentsKept) {
    parents_by_key_.erase(parents_.back().key);
    parents_.pop_back();
  }
  parents_.push_front({key, std::move(folder)});
  parents_by_key_.emplace(std::move(key), parents_.begin());
  return parents_.front().folder.get();
}

std::uint64_t LogTree::remove(const std::string& name) {
  std::error_code error;
  const auto count = std::filesystem::remove_all(aside_path_ / name, error);
  return error ? 0 : count;
}

Status LogTree::discard(int folder, const std::string& name) {
  const std::string aside_name = fresh_name();
  if (::renameat(folder, name.c_str(), aside_.get(), aside_name.c_str()) != 0)
    return errno == ENOENT ? Status{} : folder_error("cannot move aside " + name, errno);
  remove(aside_name);
  return {};
}

}  // namespace fused
