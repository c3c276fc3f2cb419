// Landlock: which files this process and its children may open, whatever the file modes say, without any privilege.
#pragma once
#include "sandbox/sandbox.hpp"

namespace fused {

constexpr int kLandlockScopeSince = 6;  // ABI: signals and abstract sockets only within the domain

// Read and execute on system paths, /proc and python_paths; everything on /mount, scratch and /dev/shm; the harmless
// devices. `private_root`: /tmp is the worker's own; otherwise /tmp stays closed (it is everybody's), and the mount
// folder is allowed at its real path. Needs no_new_privs. Takes effect for the calling thread and what it starts.
Status restrict_files(const SandboxSpec& spec, bool private_root, int abi, bool scope);

}  // namespace fused
