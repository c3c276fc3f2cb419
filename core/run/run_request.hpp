// What is to be run, for whom, and in which form the result is wanted: parsed once at the door from any of the routes
// of client-protocol.md §2.2.
#pragma once
#include <array>
#include <boost/json/object.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "auth/actor.hpp"
#include "base/result.hpp"
#include "base/settings.hpp"
#include "functions/function_source.hpp"
#include "geo/tile.hpp"
#include "run/cached_run_wish.hpp"

namespace fused {

struct DtypeOut {  // how client 1.14.2 asks for a format
  std::string vector;
  std::string raster;
};

// In which bytes the caller wants the value.
struct WantedFormat {
  std::vector<std::string> preferences;  // the first that can carry the value; empty: the value's default
  std::string from = "default";          // query | extension | default
  std::optional<DtypeOut> dtype_out;
};

// What makes a run a task of a job (docs/decisions/0010-jobs.md).
struct TaskOfJob {
  std::string job_id;
  std::int64_t task = 0;
  int attempt = 1;
  std::int64_t submitted_ms = 0;  // the job
  // One item of the step's input as JSON: by names where it is an object whose keys are the function's parameters, else
  // its first parameter. "": none.
  std::string item_json;
  std::vector<std::pair<std::string, std::string>> environment;  // variables of the function's process
  std::filesystem::path folder = {};                             // what the tasks of the job share; "": nothing
  bool is_promoted = false;  // the job began as a run that reached its function's wall limit, which holds no more
};

// What becomes of a run that reaches its wall limit. `function`: what its decorator says, @fused.udf(on_timeout="job").
enum class OnTimeout { error, function, job };

struct RunRequest {
  SharedFunction function;
  std::vector<std::pair<std::string, std::string>> query;  // parameters as text, reserved names removed, in order
  boost::json::object typed;                               // parameters that came as JSON
  std::optional<TileId> tile;
  WantedFormat format;
  Actor actor;
  std::string caller;         // who shares the queue fairly: user, token or address
  std::string run_id;         // a UUID
  bool run_id_given = false;  // by Fused-Run-Id: the run may be joined and is answered again
  std::string x_request_id;   // of the HTTP request
  std::string folder_id;      // run_id, or "<run_id>.2" for a second attempt
  int recursion = 1;
  std::vector<std::pair<std::string, std::string>> headers;  // shown in fused.context
  bool async_client = false;                                 // aiohttp: cannot decode npy and tiff
  bool profile = false;
  bool fresh = false;
  bool nested = false;
  CacheWish cache;
  OnTimeout on_timeout = OnTimeout::error;
  bool not_from_cache = false;  // a share token that says cache: false
  RunLimits limits;
  std::optional<TaskOfJob> job;
};

// Names in a query string that are never parameters (client-protocol.md §2.2, §9 (5)).
bool is_reserved_query_name(std::string_view name);

// Formats a caller may name, e.g. in the message of a refusal.
std::string_view known_formats();
// "npy,tiff,parquet" → preferences. invalid_argument names the unknown one and lists all. "jpg" is jpeg, "tif" tiff, ….
Result<std::vector<std::string>> parse_format_list(std::string_view text);

// From the query's `format`, `dtype_out_*`, or an extension (".png"), in that order. `extension` without dot, may be
// "".
Result<WantedFormat> wanted_format(const std::vector<std::pair<std::string, std::string>>& query,
                                   std::string_view extension);

// The function and parameters of a `step_config` (JSON text of a UdfJobStepConfig, client-protocol.md §3).
// unprocessable says which member is missing or of the wrong type.
struct StepConfig {
  FunctionSource function;
  boost::json::object parameters;
  std::string saved_id;  // metadata["fused:id"]: the saved function that the client says this is; "" when it says none
};
Result<StepConfig> parse_step_config(std::string_view json_text);

}  // namespace fused
