#include "http/routes.hpp"

#include "http/endpoints/attempts.hpp"
#include "http/endpoints/batches.hpp"
#include "http/endpoints/cache.hpp"
#include "http/endpoints/health.hpp"
#include "http/endpoints/jobs.hpp"
#include "http/endpoints/pages.hpp"
#include "http/endpoints/run_routes.hpp"
#include "http/endpoints/schedules.hpp"
#include "http/endpoints/state_routes.hpp"
#include "http/endpoints/table_routes.hpp"

namespace fused {

std::vector<Route> all_routes(Parts& parts) {
  using enum Method;
  constexpr std::int64_t kFormBytes = 16 << 10;
  std::vector<Route> rows{
      {get, "/", Access::open, IndexPage{parts}, "index_page"},
      {get, "/sign-in", Access::open, SignIn{parts}, "sign_in_page"},
      {post, "/sign-in", Access::open, SignIn{parts}, "sign_in", kFormBytes},
      {post, "/sign-out", Access::open, SignOut{parts}, "sign_out", kFormBytes},
      {get, "/docs", Access::open, DocsPage{}, "docs_page"},
      {get, "/openapi.yaml", Access::open, OpenApi{}, "openapi"},
      {get, "/health", Access::open, Health{parts}, "health"},
      {get, "/server/v1/health", Access::open, Health{parts}, "api_health"},
      {get, "/metrics", Access::signed_in, Metrics{parts}, "metrics"},
  };
  const auto add = [&rows](std::vector<Route> more) {
    for (auto& row : more) rows.push_back(std::move(row));
  };
  if (parts.run) add(run_routes(*parts.run));
  if (parts.state) add(state_routes(*parts.state));
  if (parts.tables) add(table_routes(*parts.tables));
  if (parts.cache) add(cache_routes(*parts.cache));
  if (parts.jobs) add(job_routes(*parts.jobs));
  if (parts.batches) add(batch_routes(*parts.batches));
  if (parts.schedules) add(schedule_routes(*parts.schedules));
  if (parts.attempts) add(attempt_routes(*parts.attempts));
  return rows;
}

}  // namespace fused
