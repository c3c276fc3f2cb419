// Starting a program beside the server.
#pragma once
#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace fused {

struct ChildProcess {
  std::string program;                           // a path; PATH is not searched
  std::vector<std::string> arguments;            // without the program's name
  std::vector<std::string> environment;          // NAME=value; nothing of our own is handed on
  std::vector<std::pair<int, int>> descriptors;  // (ours, its own); standard input is /dev/null where it is not named
};

// In a group of its own, so that Ctrl-C in the terminal reaches the server alone, which then drains; with the signals
// of a fresh process. Descriptors that are not close-on-exec stay open in it. unavailable names the program and why.
Result<pid_t> start_child(const ChildProcess& child);

}  // namespace fused
