// The ways to run a function (client-protocol.md §2.2): ad hoc, saved, shared; as a file or a tile; direct or polled.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <filesystem>
#include <functional>
#include <string_view>

#include "http/message.hpp"
#include "run/cached_run.hpp"
#include "run/run_registry.hpp"

namespace fused {

// How endpoints find what to run; main.cpp fills it from functions/ and auth/.
struct FunctionFinder {
  // Functions of the actor by name; "email/name" and "team/name" too. not_found names it.
  std::function<Result<SharedFunction>(const Actor&, std::string_view email, std::string_view name)> by_name;
  // By the id of a saved function that the actor may see; null when there is none.
  std::function<SharedFunction(const Actor&, std::string_view id)> by_id;
  // One revision of such a function, by its id or number. not_found.
  std::function<boost::asio::awaitable<Result<SharedFunction>>(Actor, std::string id, std::string revision)>
      by_revision;
  // Unknown, expired and revoked are the same not_found. A token that is not for everybody asks `asker` for a token of
  // his own: unauthenticated or forbidden.
  struct Shared {
    SharedFunction function;
    Actor actor;  // of kind share_token
    bool for_everybody = true;
    bool cache = true;  // results may come from the cache
  };
  std::function<Result<Shared>(std::string_view token, const Actor& asker)> by_share_token;
};

class JobService;

struct RunParts {
  std::filesystem::path web;  // the installed page files
  RunRegistry* registry = nullptr;
  RunService* runs = nullptr;
  CachedRuns* cached = nullptr;  // null where a test has no cache
  FunctionFinder functions;
  RunLimits limits;
  JobService* jobs = nullptr;  // answers for runs that became jobs; null where a test has none
};

// POST …/run/udf[/start][/tiles/{z}/{x}/{y}]: the code comes with the request.
struct RunAdHoc {
  RunParts& parts;
  bool polled = false;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// GET …/run/udf/get/{run_id}
struct PollRun {
  RunParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// POST /server/v1/efs/{client_id}/udf-logs {"log_dir"}: what a run of the caller has printed so far, as {"stdout",
// "stderr"}.
struct RunOutput {
  RunParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// GET, POST of a saved function: path values {email} (optional), {name}, or {leaf} = "name.ext"; {z}, {x}, {y} for a
// tile.
struct RunSaved {
  RunParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// POST /server/v1/fused_lite/invoke/{name}: a saved function of the caller, parameters as JSON object, result as JSON.
struct RunLite {
  RunParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// GET, POST below /server/v1/realtime-shared/{token}: {leaf} is "run" or "file" and may carry an extension.
struct RunShared {
  RunParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// GET, POST below /api/v1/functions/{id}/revisions/{revision}/run: as it was saved then. {leaf} as above, or a tile.
struct RunRevision {
  RunParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// What an ad hoc request asks for: {"step_config": "<JSON>", "format": "…", "profile": false}, or 1.14.2's form with
// dtype_out_*.
Result<RunRequest> ad_hoc_request(const RunParts& parts, const Request& request);

// Splits "file.png" into name and extension; {y} of a tile as well ("3.mvt").
std::pair<std::string, std::string> split_extension(std::string_view leaf);

}  // namespace fused
