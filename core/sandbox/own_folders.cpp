#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "sandbox/machine.hpp"
#include "sandbox/sandbox.hpp"

namespace fused {
namespace {

constexpr int kDepthMax = 32;      // every level holds a descriptor, of which a run may have left few
constexpr int kPassesMax = 1'000;  // each brings a deeper tree kDepthMax levels nearer

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

bool is_dot(const char* name) { return std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0; }

struct Emptying {
  int top;        // what lies too deep is moved up into it
  dev_t device;   // of `top`: what is mounted beneath it is somebody else's
  int moved = 0;  // names it has been given
};

// Takes the descriptor. Counts what could not be removed.
int empty_folder(int descriptor, int depth, Emptying& all) {
  const std::unique_ptr<DIR, CloseFolder> folder(::fdopendir(descriptor));
  if (!folder) {
    ::close(descriptor);
    return 1;
  }
  int left = 0;
  const int at = ::dirfd(folder.get());
  while (const dirent* entry = ::readdir(folder.get())) {
    const char* name = entry->d_name;
    if (is_dot(name) || ::unlinkat(at, name, 0) == 0 || ::unlinkat(at, name, AT_REMOVEDIR) == 0) continue;
    int inner = ::openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0 && ::fchmodat(at, name, 0700, 0) == 0) {  // a run may have closed its folder to itself
      inner = ::openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    struct stat about{};
    if (inner >= 0 && ::fstat(inner, &about) == 0 && about.st_dev != all.device) {
      ::close(inner);
      ++left;
      continue;
    }
    if (inner >= 0) ::fchmod(inner, 0700);
    if (inner >= 0 && depth >= kDepthMax) {
      ::close(inner);
      const auto aside = ".fused-deep-" + std::to_string(++all.moved);
      if (::renameat(at, name, all.top, aside.c_str()) == 0) continue;
      inner = -1;
    }
    const int beneath = inner < 0 ? 1 : empty_folder(inner, depth + 1, all);
    if (::unlinkat(at, name, AT_REMOVEDIR) != 0) left += std::max(beneath, 1);
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
    struct stat about{};
    ::fstat(folder, &about);
    Emptying all{folder, about.st_dev};
    int here = 0;
    for (int pass = 0; pass < kPassesMax; ++pass) {
      const int before = all.moved;
      here = empty_folder(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0, all);
      if (all.moved == before) break;
    }
    ::close(folder);
    left += here;
  }
  return left;
}

}  // namespace fused
