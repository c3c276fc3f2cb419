// What a job was submitted with beside its config: the column options_json.
#pragma once
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace fused {

struct JobOptions {
  std::string instance_type;
  std::string region;
  std::optional<std::int64_t> disk_size_gb;
  std::vector<std::pair<std::string, std::string>> environment;
  std::string image_name;
  bool send_status_email = false;
  std::optional<std::int64_t> cache_max_age;
  int priority = 0;
  int max_retry = 0;         // of failures of the function
  int recursion = 1;         // depth of its runs
  std::string derived_from;  // the job that this one repeats or retries
  std::string submitted_by_run;
  std::string request_sha256;              // of the request that it came from, where that had an Idempotency-Key
  std::vector<std::string> formats;        // of its results, where a run's caller had named some; empty: those of jobs
  std::int64_t promoted_after_ms = 0;      // it was a run that reached this wall limit; 0: it was submitted
  std::int64_t promoted_memory_bytes = 0;  // its limit as a run, which is its share as a job; for the first plan only
  std::string parts;                       // with output_table: where its tasks' parts lie (job_output.hpp)
  std::int64_t disk_bytes = 0;             // what a task may write
  boost::json::array hooks;                // who is told when it has ended: objects, as JobParts::read_hooks made them
  std::vector<std::string> notes;          // for people: limits that were cut, options that change nothing here
};

inline constexpr int kJobPriorityMax = 100;  // and -100
inline constexpr int kJobRetriesMax = 100;

std::string options_json(const JobOptions& options);
JobOptions read_options(std::string_view text);  // our own writing
// ["NAME=value", …] of a client. invalid_argument names the entry.
Result<std::vector<std::pair<std::string, std::string>>> read_environment(const boost::json::value& list);
// For a reader: values of the environment, which may be secrets, are not in it.
boost::json::object shown_options(const JobOptions& options);

}  // namespace fused
