#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "sandbox/machine.hpp"
#include "sandbox/sandbox.hpp"

namespace fused {
namespace {

constexpr int kDepthMax = 512;  // deeper trees stay, and count as left

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

bool is_dot(const char* name) { return std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0; }

// Takes the descriptor. Counts what could not be removed.
int empty_folder(int descriptor, int depth) {
  const std::unique_ptr<DIR, CloseFolder> folder(::fdopendir(descriptor));
  if (!folder) {
    ::close(descriptor);
    return 1;
  }
  int left = 0;
  while (const dirent* entry = ::readdir(folder.get())) {
    const int at = ::dirfd(folder.get());
    if (is_dot(entry->d_name) || ::unlinkat(at, entry->d_name, 0) == 0) continue;
    if (::unlinkat(at, entry->d_name, AT_REMOVEDIR) == 0) continue;
    int inner = ::openat(at, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0 && ::fchmodat(at, entry->d_name, 0700, 0) == 0) {  // a run may have closed its folder to itself
      inner = ::openat(at, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (inner >= 0) ::fchmod(inner, 0700);
    const int beneath = inner < 0 ? 1 : depth < kDepthMax ? empty_folder(inner, depth + 1) : (::close(inner), 1);
    if (::unlinkat(at, entry->d_name, AT_REMOVEDIR) != 0) left += beneath > 0 ? beneath : 1;
  }
  return left;
}

}  // namespace

int empty_own_folders() {
  const auto& folders = forked().own_folders;
  if (folders.empty()) return -1;
  int left = 0;
  for (const auto& path : folders) {
    const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0) {
      ++left;
      continue;
    }
    ::fchmod(folder, 0700);
    left += empty_folder(folder, 0);
  }
  return left;
}

}  // namespace fused
