// The JSON of a run frame (ARCHITECTURE.md, "Frames"), written by hand: it is on the path of every run.
#pragma once
#include <string>

#include "run/run_request.hpp"
#include "worker/run_order.hpp"

namespace fused {

struct RunFrameContext {
  std::string_view run_token;
  std::string_view base_url;
  std::string_view execution_environment_id;
  std::int64_t worker_growth_bytes = 1LL << 30;
  std::string_view cache_secret = {};  // auth/cache_secrets.hpp
};

// A warm worker serves one: RunOrder::worker_key.
std::string worker_key(std::string_view organisation, std::string_view owner_id);
RunOrder make_run_order(const RunRequest& request, const RunFrameContext& context);
// The parameters of a run as one JSON object, for its log record: defaults beneath text beneath typed.
std::string parameters_json(const RunRequest& request);

}  // namespace fused
