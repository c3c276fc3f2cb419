// Schedules: the client's cron routes (client-protocol.md §2.5) and /api/v1/schedules. One record serves both. All of
// an organisation see its schedules; who made one, and owners, change it. docs/reference/schedules.md.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>
#include <functional>
#include <string>
#include <vector>

#include "http/endpoints/state_parts.hpp"
#include "http/router.hpp"
#include "jobs/schedule_service.hpp"

namespace fused {

struct ScheduleParts {
  ScheduleService* schedules = nullptr;  // on the state thread
  const FunctionStore* functions = nullptr;
  StateThread* thread = nullptr;
  // Both on the server's thread: submits the job (jobs/schedule_service.hpp says what the errors mean), and gives its
  // record as a client reads it.
  std::function<boost::asio::awaitable<Status>(ScheduledJob job)> submit;
  std::function<boost::asio::awaitable<Result<boost::json::object>>(Actor actor, std::string job_id)> job;
};

// GET cronjob/get-self, api/v1/schedules (?mine), cronjob/by-udf-id/{id}
struct ListSchedules {
  enum class Of { user, organisation, function };
  ScheduleParts& parts;
  Of of;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// POST cronjob/create, api/v1/schedules: `strict` refuses members that nobody knows
struct CreateSchedule {
  ScheduleParts& parts;
  bool strict;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct GetSchedule {
  ScheduleParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// What the body does not name stays.
struct ChangeSchedule {
  ScheduleParts& parts;
  bool strict;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct RemoveSchedule {
  ScheduleParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// POST cronjob/user-run/by-id/{id}, api/v1/schedules/{id}/run → {"run": job, "cronjob": schedule}
struct RunSchedule {
  ScheduleParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET api/v1/schedules/{id}/runs?limit (20, at most 1,000)
struct ListScheduleRuns {
  ScheduleParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// `parts` must outlive the rows.
std::vector<Route> schedule_routes(ScheduleParts& parts);

}  // namespace fused
