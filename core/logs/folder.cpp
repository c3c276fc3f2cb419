#include "logs/folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>

#include "base/ids.hpp"
#include "logs/metadata.hpp"

namespace fused {
namespace {

constexpr std::string_view kMetadata = "metadata.json", kCode = "udf.json", kOut = "stdout.log", kErr = "stderr.log";
constexpr std::string_view kCalls = "calls.parquet";  // of a batch, beside these
constexpr std::int64_t kBlockBytes = 4'096;
constexpr int kSameNameMax = 1'000;  // then a random name behind the id

std::int64_t on_disk(std::size_t size) {
  return (static_cast<std::int64_t>(size) + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
}
void count_file(FolderUse& use, std::size_t size) {
  ++use.inodes;
  use.bytes += on_disk(size);
}

// A file of our own that can be overwritten: regular and reached by no other name.
bool is_private(const struct stat& file) { return S_ISREG(file.st_mode) && file.st_nlink == 1; }

Status overwrite(const FileDescriptor& file, std::string_view content, std::int64_t old_size) {
  std::size_t at = 0;
  while (at < content.size()) {
    const ssize_t written = ::pwrite(file.get(), content.data() + at, content.size() - at, static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return folder_error("cannot overwrite a log file", written < 0 ? errno : ENOSPC);
    at += static_cast<std::size_t>(written);
  }
  if (old_size != static_cast<std::int64_t>(content.size()) &&
      ::ftruncate(file.get(), static_cast<off_t>(content.size())) != 0)
    return folder_error("cannot shorten a log file", errno);
  return {};
}

// Gives `path` new content, in its inode when that is ours alone.
Status replace_file(int folder, const char* path, std::string_view content) {
  const FileDescriptor file(::openat(folder, path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat now{};
  if (file && ::fstat(file.get(), &now) == 0 && is_private(now)) return overwrite(file, content, now.st_size);
  if (::unlinkat(folder, path, 0) != 0 && errno != ENOENT) return folder_error("cannot replace log file", errno);
  return write_new_file(folder, path, content, 0644);
}

// Compared without reading more than is expected, and without waiting on what is no file.
bool holds(int folder, const std::string& path, std::string_view content) {
  const FileDescriptor file(::openat(folder, path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat now{};
  if (!file || ::fstat(file.get(), &now) != 0 || !S_ISREG(now.st_mode) ||
      now.st_size != static_cast<off_t>(content.size()))
    return false;
  std::string found(content.size(), '\0');
  return ::pread(file.get(), found.data(), found.size(), 0) == static_cast<ssize_t>(found.size()) && found == content;
}

const JournalCode& lost_code() {
  static const JournalCode lost{0, "lost", "", "", "# the code of this run was in a damaged part of the log journal\n",
                                ""};
  return lost;
}

// The table of a batch's calls gets a second name in the folder; where that is another file system, a copy. The first
// name goes when the folder is in place. A file that is gone (its folder was made and removed) is passed over.
Result<std::int64_t> link_calls(const std::string& source, int aside, const std::string& path) {
  struct stat info{};
  if (::stat(source.c_str(), &info) != 0) return 0;
  if (::linkat(AT_FDCWD, source.c_str(), aside, path.c_str(), 0) == 0) return info.st_size;
  if (errno != EXDEV && errno != EPERM && errno != EMLINK) return folder_error("cannot link a table of calls", errno);
  const FileDescriptor from(::open(source.c_str(), O_RDONLY | O_CLOEXEC));
  const FileDescriptor to(::openat(aside, path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
  if (!from || !to) return folder_error("cannot copy a table of calls", errno);
  for (std::int64_t left = info.st_size; left > 0;) {
    const ssize_t done = ::sendfile(to.get(), from.get(), nullptr, static_cast<std::size_t>(left));
    if (done <= 0) return folder_error("cannot copy a table of calls", done < 0 ? errno : EIO);
    left -= done;
  }
  return info.st_size;
}

bool is_taken(int error) { return error == ENOTEMPTY || error == EEXIST || error == ENOTDIR; }

}  // namespace

OldFolder inspect_folder(int parent, const std::string& name) {
  OldFolder old;
  old.name = name;
  old.use = {1, 1, kBlockBytes};
  const int folder = ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR* listing = folder < 0 ? nullptr : ::fdopendir(folder);
  if (!listing) {
    if (folder >= 0) ::close(folder);
    return old;
  }
  old.reusable = true;
  while (const dirent* entry = ::readdir(listing)) {
    const std::string_view file = entry->d_name;
    if (file == "." || file == "..") continue;
    struct stat now{};
    if (file != kMetadata && file != kCode && file != kOut && file != kErr) old.reusable = false;
    if (::fstatat(folder, entry->d_name, &now, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!S_ISREG(now.st_mode)) old.reusable = false;
    if (is_private(now)) count_file(old.use, static_cast<std::size_t>(now.st_size));
  }
  ::closedir(listing);
  return old;
}

Status FolderWriter::link_code(int folder, const std::string& path, const Contents& contents) {
  const JournalCode& code = contents.code ? *contents.code : lost_code();
  return shared_.link("code:" + code.key, folder, path.c_str(), [&] { return udf_json(code); });
}

Result<FolderUse> FolderWriter::fill_new(const std::string& name, const Contents& contents) {
  const int aside = tree_.aside();
  FolderUse use{1, 1, kBlockBytes};
  if (::mkdirat(aside, name.c_str(), 0755) != 0) return folder_error("cannot make a log folder", errno);
  const std::string prefix = name + "/";
  FUSED_CHECK(write_new_file(aside, (prefix + std::string(kMetadata)).c_str(), contents.metadata, 0644));
  count_file(use, contents.metadata.size());
  FUSED_CHECK(link_code(aside, prefix + std::string(kCode), contents));
  for (const auto& [file, text] :
       {std::pair(kOut, &contents.run.record.stdout_text), std::pair(kErr, &contents.run.record.stderr_text)}) {
    const std::string path = prefix + std::string(file);
    if (text->empty()) {
      FUSED_CHECK(shared_.link("empty", aside, path.c_str(), [] { return std::string_view(); }));
    } else {
      FUSED_CHECK(write_new_file(aside, path.c_str(), *text, 0644));
      count_file(use, text->size());
    }
  }
  return use;
}

Result<FolderUse> FolderWriter::fill_old(const std::string& name, const Contents& contents) {
  FolderUse use{1, 1, kBlockBytes};
  const FileDescriptor folder(::openat(tree_.aside(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) return folder_error("cannot open an old log folder", errno);
  FUSED_CHECK(replace_file(folder.get(), kMetadata.data(), contents.metadata));
  count_file(use, contents.metadata.size());
  const JournalCode& code = contents.code ? *contents.code : lost_code();
  struct stat now{};
  const bool there = ::fstatat(folder.get(), kCode.data(), &now, AT_SYMLINK_NOFOLLOW) == 0;
  if (!there || now.st_ino != shared_.inode_of("code:" + code.key)) {
    if (there && ::unlinkat(folder.get(), kCode.data(), 0) != 0) return folder_error("cannot replace udf.json", errno);
    FUSED_CHECK(link_code(folder.get(), std::string(kCode), contents));
  }
  for (const auto& [file, text] :
       {std::pair(kOut, &contents.run.record.stdout_text), std::pair(kErr, &contents.run.record.stderr_text)}) {
    const bool exists = ::fstatat(folder.get(), file.data(), &now, AT_SYMLINK_NOFOLLOW) == 0;
    if (!text->empty() || (exists && is_private(now))) {
      FUSED_CHECK(replace_file(folder.get(), file.data(), *text));
      count_file(use, text->size());
    } else if (!exists || now.st_size != 0) {
      if (exists && ::unlinkat(folder.get(), file.data(), 0) != 0)
        return folder_error("cannot replace a stream", errno);
      FUSED_CHECK(shared_.link("empty", folder.get(), file.data(), [] { return std::string_view(); }));
    }
  }
  return use;
}

Result<WrittenFolder> FolderWriter::put_in_place(const std::string& name, const Contents& contents) {
  WrittenFolder written{RunPath::of(contents.run.record), {}, false};
  const std::string id = written.path.id;
  for (int number = 1; number <= kSameNameMax; ++number) {
    if (number > 1) written.path.id = id + "." + std::to_string(number);
    if (number == kSameNameMax) written.path.id = id + "." + new_uuid();
    bool renamed = false;
    for (int attempt = 0; attempt < 2 && !renamed; ++attempt) {
      const int parent = FUSED_TRY(tree_.parent(written.path));
      renamed = ::renameat(tree_.aside(), name.c_str(), parent, written.path.id.c_str()) == 0;
      if (renamed) return written;
      if (is_taken(errno)) {
        if (holds(parent, written.path.id + "/" + std::string(kMetadata), contents.metadata)) {
          written.already_there = true;
          written.use = inspect_folder(parent, written.path.id).use;
          return written;
        }
        break;
      }
      if (errno != ENOENT || attempt == 1) return folder_error("cannot put a log folder in place", errno);
      FUSED_CHECK(tree_.reopen());  // somebody removed the folder of this minute
    }
  }
  return fail(ErrorKind::invalid_argument, "no free name for the log folder of run '" + id + "'");
}

Result<WrittenFolder> FolderWriter::write(const JournalRun& run, const JournalCode* code,
                                          std::optional<OldFolder> reuse, bool look_first) {
  const Contents contents{metadata_json(run), run, code};
  if (look_first) {
    WrittenFolder there{RunPath::of(run.record), {}, true};
    const int parent = FUSED_TRY(tree_.parent(there.path));
    if (holds(parent, there.path.id + "/" + std::string(kMetadata), contents.metadata)) {
      if (reuse) tree_.remove(reuse->name);
      there.use = inspect_folder(parent, there.path.id).use;
      return there;
    }
  }
  if (reuse && !reuse->reusable) {
    tree_.remove(reuse->name);
    reuse.reset();
  }
  const std::string name = reuse ? reuse->name : tree_.fresh_name();
  auto use = reuse ? fill_old(name, contents) : fill_new(name, contents);
  const std::string& calls = run.record.calls_file;
  if (use && !calls.empty()) {
    const auto size = link_calls(calls, tree_.aside(), name + "/" + std::string(kCalls));
    if (size)
      count_file(*use, static_cast<std::size_t>(*size));
    else
      use = std::unexpected(size.error());
  }
  auto written = use ? put_in_place(name, contents) : std::unexpected(use.error());
  if (!written || written->already_there) tree_.remove(name);
  if (written && !written->already_there) written->use = *use;
  if (written && !calls.empty()) ::unlink(calls.c_str());
  return written;
}

Status FolderWriter::reopen() {
  shared_.forget_all();
  return tree_.reopen();
}

}  // namespace fused
