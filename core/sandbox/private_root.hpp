// A root file system of the worker's own: what Python needs, /mount and scratch; nothing else of the host exists.
#pragma once
#include <filesystem>
#include <string_view>
#include <vector>

#include "sandbox/sandbox.hpp"

namespace fused {

// Called in a mount namespace of one's own. `pid_namespace`: mounts a fresh /proc, else shows the host's, read-only.
// `kernel` as in Machine. Afterwards the working directory is `spec.scratch`.
Status enter_private_root(const SandboxSpec& spec, bool pid_namespace, int kernel);

// Where the job's folder of `spec` is seen in its private root.
std::filesystem::path job_folder_inside(const SandboxSpec& spec);

// The mounts of enter_private_root that a machine may refuse, tried in a throw-away child on its /tmp.
Status try_private_root(bool pid_namespace);

// Read-only parts of the host that a Python process needs, beside its python_paths; those that exist here.
std::vector<std::filesystem::path> system_paths();
inline constexpr std::string_view kDevices[] = {"null", "zero", "full", "random", "urandom"};

}  // namespace fused
