#include "sandbox/process_look.hpp"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "sandbox/group_usage.hpp"

namespace fused {
namespace {

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

std::optional<ProcessLook> look_at(pid_t pid) {
  const std::string text = read("/proc/" + std::to_string(pid) + "/stat");
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  ProcessLook look;
  long user = 0, system = 0, user_of_children = 0, system_of_children = 0;
  unsigned long long started = 0;
  constexpr const char* kFields = " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld %ld %ld %*d %*d %*d %*d %llu";
  if (std::sscanf(text.c_str() + name_end + 1, kFields, &look.state, &user, &system, &user_of_children,
                  &system_of_children, &started) != 6)
    return std::nullopt;
  look.started = started;
  look.cpu_seconds = static_cast<double>(user + system + user_of_children + system_of_children) /
                     static_cast<double>(::sysconf(_SC_CLK_TCK));
  return look;
}

pid_t working_process(pid_t pid) {
  // The init process is in the worker's pid namespace as number 1 and has a worker; a worker is no number 1.
  std::istringstream status(read("/proc/" + std::to_string(pid) + "/status"));
  std::string line, last;
  int numbers = 0;
  while (std::getline(status, line))
    if (line.starts_with("NSpid:")) {
      std::istringstream fields(line.substr(6));
      while (fields >> last) ++numbers;
    }
  if (numbers < 2 || last != "1") return pid;
  const auto group = group_pids(pid);
  return group.size() > 1 ? group[1] : pid;
}

}  // namespace fused
