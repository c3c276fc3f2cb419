#include "logs/post_mortem.hpp"

#include <cstdio>
#include <cstring>

#include "base/text.hpp"
#include "logs/json_text.hpp"

namespace fused {
namespace {

constexpr std::size_t kLastOutputBytes = 64 << 10;  // looked at for the last line of output
constexpr std::size_t kLastLineBytes = 500;

void begin_part(std::string& text) {
  if (text.empty()) return;
  if (text.back() != '\n') text += '\n';
  text += '\n';
}

void add_line(std::string& text, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  text += name;
  text += ": ";
  text += value;
  text += '\n';
}

std::string megabytes(std::int64_t bytes) {
  char text[40];
  std::snprintf(text, sizeof text, "%.1f MiB (", static_cast<double>(bytes) / (1 << 20));
  return text + with_thousands(bytes) + " bytes)";
}

std::string output_line(const CapturedStream& out) {
  if (out.total_bytes() == 0) return "stdout.log is empty";
  const std::uint64_t from = out.total_bytes() - std::min<std::uint64_t>(out.total_bytes(), kLastOutputBytes);
  std::string end = out.render(from, out.total_bytes());
  while (!end.empty() && (end.back() == '\n' || end.back() == '\r')) end.pop_back();
  std::string last = end.substr(end.rfind('\n') + 1);
  if (last.size() > kLastLineBytes) last = "…" + valid_utf8(last.substr(last.size() - kLastLineBytes));
  std::string text = with_thousands(static_cast<long long>(out.total_bytes())) + " bytes were printed, see stdout.log";
  return last.empty() ? text : text + "; the last line: " + last;
}

}  // namespace

std::string signal_name(int number) {
  const char* name = ::sigabbrev_np(number);
  return (name ? "SIG" + std::string(name) : "signal") + " (" + std::to_string(number) + ")";
}

std::string failure_stderr(const CapturedStream& out, const CapturedStream& err, const PostMortem& end) {
  std::string text = err.render();
  // A traceback that the function (or Python, at a crash) printed itself is not shown twice.
  if (!end.traceback.empty() && text.find(end.traceback) == std::string::npos) {
    begin_part(text);
    text += end.traceback;
  }
  begin_part(text);
  text += "--- how this run ended ---\n";
  add_line(text, "outcome", end.outcome);
  std::string error = end.error_class;
  if (!end.error_message.empty()) error += (error.empty() ? "" : ": ") + end.error_message;
  add_line(text, "error", error);
  add_line(text, "limit", end.limit);
  if (end.signal != 0) add_line(text, "signal", signal_name(end.signal));
  if (end.exit_status) add_line(text, "exit status", std::to_string(*end.exit_status));
  if (end.peak_memory_bytes > 0) add_line(text, "peak memory", megabytes(end.peak_memory_bytes));
  char seconds[400];
  std::snprintf(seconds, sizeof seconds, "%.3f s", end.execution_time_seconds);
  add_line(text, "ran for", seconds);
  add_line(text, "last Python line", end.last_line);
  add_line(text, "output", output_line(out));
  return is_utf8(text) ? text : valid_utf8(text);
}

}  // namespace fused
