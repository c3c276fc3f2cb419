#include "base/clock.hpp"

#include <cstdio>
#include <ctime>

namespace fused {
namespace {

std::tm utc(WallTime time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(std::chrono::floor<std::chrono::seconds>(time));
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return parts;
}

std::string with_format(const std::tm& parts, const char* format) {
  char text[40];
  return std::string(text, std::strftime(text, sizeof text, format, &parts));
}

}  // namespace

std::string format_utc(WallTime time) {
  using namespace std::chrono;
  const auto micros = duration_cast<microseconds>(time - floor<seconds>(time)).count();
  char fraction[16];
  std::snprintf(fraction, sizeof fraction, ".%06dZ", static_cast<int>(micros));
  return with_format(utc(time), "%Y-%m-%dT%H:%M:%S") + fraction;
}
std::string format_utc_date(WallTime time) { return with_format(utc(time), "%Y-%m-%d"); }
std::string format_utc_hhmm(WallTime time) { return with_format(utc(time), "%H%M"); }

}  // namespace fused
