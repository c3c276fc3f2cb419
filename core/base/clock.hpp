// Time as handed to every part, so that tests can move it.
#pragma once
#include <chrono>
#include <string>

namespace fused {

using WallTime = std::chrono::system_clock::time_point;    // for names and records, UTC
using SteadyTime = std::chrono::steady_clock::time_point;  // for durations and deadlines

struct Clock {
  virtual ~Clock() = default;
  virtual WallTime now() const { return std::chrono::system_clock::now(); }
  virtual SteadyTime steady() const { return std::chrono::steady_clock::now(); }
};

std::string format_utc(WallTime time);       // 2026-11-21T10:15:30.123456Z
std::string format_utc_date(WallTime time);  // 2026-11-21
std::string format_utc_hhmm(WallTime time);  // 1015

}  // namespace fused
