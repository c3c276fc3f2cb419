#include "storage/data_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "storage/durable_write.hpp"

namespace fused {
namespace {

constexpr std::array<std::string_view, 5> kFolders{"mount/fused-system/logs", "mount/fused-system/cached_data",
                                                   "scratch", "journal", "s3/fused-users"};

std::string first_line(std::string text) {
  if (const auto end = text.find('\n'); end != text.npos) text.resize(end);
  return text;
}

Result<FileDescriptor> take_lock(const PathResolver& files, const std::filesystem::path& root) {
  FileDescriptor lock = FUSED_TRY(files.open_file("lock", O_RDWR | O_CREAT | O_NOFOLLOW));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno("cannot lock " + (root / "lock").string(), errno);
    const std::string holder = first_line(files.read("lock", 64).value_or(""));
    return fail(ErrorKind::conflict, "the data folder " + root.string() + " is in use by the server with process id " +
                                         (holder.empty() ? "(not yet written)" : holder) +
                                         "; stop that one, or give this one another folder with --data");
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock.get(), 0) != 0 || ::pwrite(lock.get(), pid.data(), pid.size(), 0) < 0)
    return fail_errno("cannot write " + (root / "lock").string(), errno);
  return lock;
}

// A folder without VERSION is new, or was left by a start that was killed, or it is somebody else's.
Status check_new_folder(const PathResolver& files, const std::filesystem::path& root) {
  constexpr std::array<std::string_view, 6> known{"lock", "lost+found", "mount", "s3", "scratch", "journal"};
  for (const std::string& name : FUSED_TRY(files.list(""))) {
    if (name.starts_with(kTemporaryPrefix) || std::ranges::find(known, name) != known.end()) continue;
    if (name == "state.db")
      return fail(ErrorKind::conflict, root.string() +
                                           " holds state.db but no VERSION: it is damaged; restore the file "
                                           "VERSION from a backup (this server writes '" +
                                           std::to_string(kDataVersion) + "')");
    return fail(ErrorKind::conflict, root.string() + " is not a data folder: it holds '" + shown(name) +
                                         "' and no VERSION; give --data an empty folder or one that does not exist");
  }
  return {};
}

Status check_version(const PathResolver& files, WriteGate& gate, const std::filesystem::path& root) {
  const auto text = files.read("VERSION", 64);
  if (!text && text.error().kind == ErrorKind::not_found) {
    FUSED_CHECK(check_new_folder(files, root));
    return durable_write(gate, files.root_fd(), "VERSION", std::to_string(kDataVersion) + "\n");
  }
  if (!text) return std::unexpected(text.error());
  const std::string line = first_line(*text);
  int version = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), version);
  if (error != std::errc{} || end != line.data() + line.size() || version < 1)
    return fail(ErrorKind::conflict, (root / "VERSION").string() + " holds '" + shown(line) +
                                         "' where a whole number is expected; restore it from a backup");
  if (version > kDataVersion)
    return fail(ErrorKind::conflict, root.string() + " was written by a newer server (layout version " + line +
                                         ", this one knows up to " + std::to_string(kDataVersion) +
                                         "); start that newer server, or restore a backup made before the upgrade");
  return {};
}

// What a killed server was writing in DIR itself; nobody was told about it.
Status remove_leftovers(const PathResolver& files, WriteGate& gate) {
  for (const std::string& name : FUSED_TRY(files.list("")))
    if (name.starts_with(kTemporaryPrefix)) FUSED_CHECK(files.remove(gate, name));
  return {};
}

// A copy or a backup may have come back readable for others.
Status keep_private(const PathResolver& files) {
  for (const std::string_view name : {"token", "share-key", "cache-key", "state.db", "lock"}) {
    const auto file = files.open_file(name, O_RDONLY | O_NOFOLLOW);
    if (!file && file.error().kind == ErrorKind::not_found) continue;
    if (!file) return std::unexpected(file.error());
    if (::fchmod(file->get(), 0600) != 0) return fail_errno("cannot make '" + std::string(name) + "' private", errno);
  }
  return {};
}

}  // namespace

std::string DataFolder::home(std::string_view organisation, std::string_view username) {
  return "s3/fused-users/" + std::string(organisation) + "/" + std::string(username);
}

std::string DataFolder::history(std::string_view organisation) {
  return "s3/fused-users/" + std::string(organisation) + "/fused-system/history";
}

Status DataFolder::make_home(std::string_view organisation, std::string_view username) const {
  FUSED_CHECK(files_->make_folders(*gate_, home(organisation, username)));
  FUSED_CHECK(files_->make_folders(*gate_, history(organisation)));
  return {};
}

Result<DataFolder> DataFolder::open(const std::filesystem::path& root) {
  std::error_code error;
  DataFolder data;
  data.path_ = std::filesystem::absolute(root, error).lexically_normal();
  if (error || root.empty()) return fail(ErrorKind::invalid_argument, "'" + root.string() + "' is no folder's path");
  if (!data.path_.has_filename()) data.path_ = data.path_.parent_path();
  std::filesystem::create_directories(data.path_.parent_path(), error);
  if (::mkdir(data.path_.c_str(), 0700) != 0 && errno != EEXIST)
    return fail_errno("cannot make the data folder " + data.path_.string(), errno);
  data.files_ = std::make_unique<PathResolver>(FUSED_TRY(PathResolver::open(data.path_)));
  data.gate_ = std::make_unique<WriteGate>();
  data.lock_ = FUSED_TRY(take_lock(*data.files_, data.path_));
  FUSED_CHECK(check_version(*data.files_, *data.gate_, data.path_));
  FUSED_CHECK(remove_leftovers(*data.files_, *data.gate_));
  FUSED_CHECK(keep_private(*data.files_));
  for (const auto folder : kFolders) FUSED_CHECK(data.files_->make_folders(*data.gate_, folder));
  return data;
}

}  // namespace fused
