// What this machine allows, found out once by trying it in throw-away children.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace fused {

struct Namespaces {
  bool user = false;
  bool pid = false;
  bool ipc = false;
  bool mount = false;  // and with it the private root

  int clone_flags() const;  // CLONE_NEW… of those that are set
  bool any() const { return user || pid || ipc || mount; }
};

struct Machine {
  Namespaces namespaces;  // the best set that works
  std::string why_user;   // why a namespace is not in that set; empty when it is
  std::string why_pid;
  std::string why_mount;
  int landlock = 0;  // ABI, 0: not to be had
  int kernel = 0;    // major * 1000 + minor
};

// Tries the sets from the strongest down. `without` names steps to count as refused.
Machine probe_machine(const std::vector<std::string>& without);

// probe_machine with nothing left out, run once in this process (the zygote) and inherited by its children.
const Machine& this_machine();
// this_machine, or a fresh probe when `without` names something.
Machine machine_without(const std::vector<std::string>& without);

bool has(const std::vector<std::string>& names, std::string_view name);

// The child of fork_worker keeps here what it was started with; enter_sandbox goes on from it.
struct Forked {
  bool by_fork_worker = false;
  Namespaces namespaces;
  int error = 0;                                   // errno of writing the id maps
  std::vector<std::filesystem::path> own_folders;  // set by enter_sandbox
};
Forked& forked();

// Maps the caller's own effective user and group in a fresh user namespace to themselves. 0 or an errno.
int write_id_maps(unsigned user, unsigned group);

}  // namespace fused
