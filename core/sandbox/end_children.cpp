#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "sandbox/group_usage.hpp"
#include "sandbox/machine.hpp"
#include "sandbox/sandbox.hpp"

namespace fused {
namespace {

constexpr int kRounds = 200;
constexpr useconds_t kRoundPause_us = 500;

void reap() {
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

// In a pid namespace: everything but the init process and us.
std::vector<pid_t> others_in_namespace() {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::atoi(name.c_str()));
    if (pid > 1 && pid != ::getpid()) found.push_back(pid);
  }
  return found;
}

std::vector<pid_t> others() {
  if (forked().namespaces.pid) return others_in_namespace();
  auto pids = group_pids(::getpid());
  if (!pids.empty()) pids.erase(pids.begin());
  return pids;
}

}  // namespace

int end_children() {
  std::set<pid_t> ended;
  for (int round = 0; round < kRounds; ++round) {
    reap();
    const auto left = others();
    if (left.empty()) return static_cast<int>(ended.size());
    for (const auto pid : left) {
      ended.insert(pid);
      if (::kill(pid, SIGKILL) != 0 && errno == EPERM) return -1;
    }
    if (round > 0) ::usleep(kRoundPause_us);
  }
  return -1;
}

}  // namespace fused
