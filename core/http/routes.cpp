#include "http/routes.hpp"

#include "http/endpoints/health.hpp"
#include "http/endpoints/run_routes.hpp"
#include "http/endpoints/state_routes.hpp"

namespace fused {

std::vector<Route> all_routes(Parts& parts) {
  using enum Method;
  std::vector<Route> rows{
      {get, "/health", Access::open, Health{parts}, "health"},
      {get, "/server/v1/health", Access::open, Health{parts}, "api_health"},
      {get, "/metrics", Access::signed_in, Metrics{parts}, "metrics"},
  };
  const auto add = [&rows](std::vector<Route> more) {
    for (auto& row : more) rows.push_back(std::move(row));
  };
  if (parts.run) add(run_routes(*parts.run));
  if (parts.state) add(state_routes(*parts.state));
  return rows;
}

}  // namespace fused
