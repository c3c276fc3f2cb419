#include "base/child_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

#include <algorithm>
#include <cstring>

namespace fused {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> out;
  for (const auto& word : words) out.push_back(const_cast<char*>(word.c_str()));  // as posix_spawn has it
  out.push_back(nullptr);
  return out;
}

}  // namespace

Result<pid_t> start_child(const ChildProcess& child) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // dup2 clears close-on-exec, also where both numbers are the same.
  for (const auto& [ours, theirs] : child.descriptors) posix_spawn_file_actions_adddup2(&actions, ours, theirs);
  if (std::ranges::none_of(child.descriptors, [](const auto& pair) { return pair.second == 0; }))
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  std::vector<std::string> words{child.program};
  words.insert(words.end(), child.arguments.begin(), child.arguments.end());
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, child.program.c_str(), &actions, &attributes, pointers(words).data(),
                                  pointers(child.environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return fail(ErrorKind::unavailable, "cannot start '" + child.program + "': " + std::strerror(error));
  return pid;
}

}  // namespace fused
