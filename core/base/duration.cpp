#include "base/duration.hpp"

#include <charconv>

namespace fused {
namespace {

constexpr std::int64_t kMaxSeconds = 36'500LL * 86'400;

constexpr struct {
  char name;
  std::int64_t seconds;
} kUnits[] = {{'d', 86'400}, {'h', 3'600}, {'m', 60}, {'s', 1}};

std::int64_t seconds_in(char name) {
  for (const auto& unit : kUnits)
    if (unit.name == name) return unit.seconds;
  return 0;
}

}  // namespace

Result<std::chrono::seconds> parse_duration(std::string_view text) {
  const auto refuse = [&] {
    return fail(ErrorKind::invalid_argument,
                "'" + std::string(text.substr(0, 40)) +
                    "' is not a duration: write a whole number and a unit of s, m, h or d, such as '48h' or '10s' "
                    "(at most 36500d)");
  };
  if (text.size() < 2) return refuse();
  const std::int64_t unit = seconds_in(text.back());
  std::int64_t count = 0;
  const char* end = text.data() + text.size() - 1;
  const auto [stop, error] = std::from_chars(text.data(), end, count);
  if (unit == 0 || error != std::errc{} || stop != end || text.front() == '-' || count > kMaxSeconds / unit)
    return refuse();
  return std::chrono::seconds(count * unit);
}

std::string format_duration(std::chrono::seconds duration) {
  const std::int64_t count = duration.count();
  for (const auto& unit : kUnits)
    if (count != 0 && count % unit.seconds == 0) return std::to_string(count / unit.seconds) + unit.name;
  return "0s";
}

}  // namespace fused
