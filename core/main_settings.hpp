// Settings from flags, FUSED_* and a TOML file, in that order.
#pragma once
#include <optional>
#include <string>
#include <variant>

#include "base/settings.hpp"

namespace fused {

struct Command {
  Settings settings;
  bool print_routes = false;
};

// What to run, or the exit code to end with (after --help, --version or a wrong setting has been told).
std::variant<Command, int> read_command(int argc, char** argv);

}  // namespace fused
