// Structured log lines of the server on stderr, as text or JSON, one event a line, through spdlog. Other rooms call
// spdlog::info("…") or log_event(). Whatever a line holds: control characters, C1 and U+2028/9 are escaped (nobody can
// forge a line or reach the terminal), and runs of 40 or more hexadecimal digits (tokens) are cut to their first six.
#pragma once
#include <spdlog/common.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.hpp"

namespace fused {

struct LogOptions {
  std::string format = "text";  // text | json
  std::string level = "info";   // trace | debug | info | warn | error | off
  int descriptor = 2;           // not owned
};

// Installs the process's default logger. invalid_argument names a format or level it does not know.
Status start_log(const LogOptions& options);
// Lines wait in memory up to 32 KiB; warnings and errors go out at once, the rest when the server's tick or this says
// so.
void flush_log();

using LogValue = std::variant<std::string_view, std::int64_t, double, bool>;
struct LogField {
  std::string_view name;  // our own words; never from input
  LogValue value;
};
bool log_enabled(spdlog::level::level_enum level);
void log_event(spdlog::level::level_enum level, std::string_view event, std::initializer_list<LogField> fields);

}  // namespace fused
