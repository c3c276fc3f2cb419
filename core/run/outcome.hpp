// How a run ended, and how each way is told on the wire: one table (ARCHITECTURE.md, "Outcomes").
#pragma once
#include <boost/json/object.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "worker/run_order.hpp"

namespace fused {

// Not an end: the run goes on as a job. Told to who waits for it; no worker reports it, no log holds it.
inline constexpr std::string_view kPromoted = "promoted";

struct RunOutcome {
  std::string outcome = "ok";
  int status = 200;  // direct form; the polling routes turn every failure into 422
  std::string content_type;
  std::string format;
  std::vector<std::pair<std::string, std::string>> headers;  // of a Response object
  Bytes body;
  std::string metadata;  // x-fused-metadata: one line of ASCII JSON, under 12,000 bytes
  std::string run_id;
  std::string error_message;  // "" when ok
  std::string error_class;
  std::string traceback;
  std::string possible_formats;  // JSON array, of no_format
  std::string note;              // what the encoder wants to be known
  double execution_seconds = 0;
  std::string etag;                                                // of a body that lay in the cache, else ""
  std::vector<std::pair<std::string, std::string>> cache_headers;  // x-fused-cache and what goes with it
  std::shared_ptr<const struct RunUses> uses;                      // of an executed run (cached_run_uses.hpp)
  std::string not_stored;                                          // of an executed run: why the cache has not got it

  // Of a promoted one:
  std::string job_id;
  std::string job_user_id;
  std::shared_ptr<const bool> goes_on;  // its process

  bool ok() const { return outcome == "ok"; }
  bool is_promoted() const { return outcome == kPromoted; }
};

struct OutcomeRow {
  std::string_view outcome;
  int status;
  std::string_view error_type;  // of x-fused-metadata, "" is null
};
// Row of a name; an unknown name is treated as `crashed`.
const OutcomeRow& outcome_row(std::string_view outcome);
std::string_view outcome_of(RunEnd end);

// What x-fused-metadata holds (client-protocol.md §2.2).
struct Metadata {
  std::string_view stdout_text;
  std::string_view stderr_text;
  bool has_exception = false;
  std::string_view exception_class;
  int line = 0;  // 0: null
  std::string_view error_message;
  std::string_view exception;  // traceback
  std::string_view error_type;
  std::string_view log_dir;
  std::string_view run_id;
  std::string_view outcome;
  std::string_view note;
  std::string_view schema;
  std::string_view revision;
  double execution_seconds = 0;
  const boost::json::value* profile = nullptr;
};
// At most `bytes_max` of one-line ASCII: long texts lose their middle, and say how much.
std::string metadata_header(const Metadata& metadata, std::size_t bytes_max = 11'500);

}  // namespace fused
