// Where the folder of a run lies, and how strangers' text becomes one path segment.
#pragma once
#include <string>
#include <string_view>

#include "logs/run_record.hpp"

namespace fused {

// One path segment of at most 200 bytes that is never "", "." or ".." and holds no "/": ASCII letters, digits and @ + -
// _ . stay; every other byte and a leading "." become %XX; "" becomes "%". What would be longer keeps its beginning,
// then "~" and 16 hex digits of its SHA-256 ("~" itself is always %7E, so no two texts meet in one segment).
std::string path_segment(std::string_view text);

struct RunPath {
  std::string date;   // 2026-11-21, UTC, when the run began
  std::string hhmm;   // 1015
  std::string email;  // path_segment(user_email)
  std::string id;     // path_segment(request_id)

  static RunPath of(const RunRecord& record);
  static RunPath of(WallTime started, std::string_view user_email, std::string_view request_id);
  // /mount/fused-system/logs/{date}/{hhmm}/{email}/{id}: the path as functions see it (seed: "logs/").
  std::string as_seen_by_functions() const;
};

}  // namespace fused
