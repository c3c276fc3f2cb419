// Schedules as JSON, both ways.
#pragma once
#include <boost/json/object.hpp>

#include "http/endpoints/schedules.hpp"

namespace fused {

// {"id", "name", "description", "enabled", "cron", "time_zone", "minute": […], …, "next": […], "last_run", …}; on the
// state thread.
boost::json::object schedule_record(const ScheduleParts& parts, const Schedule& schedule);
// {"due", "job_id", "state", "error", "note"}
boost::json::object schedule_run_record(const ScheduleStore::Shown& shown);

// Takes over what the body names. invalid_argument names member, value and what is allowed; not_found a function.
Status take_schedule(const BodyObject& body, const FunctionStore& functions, const Actor& actor, Schedule& schedule);
// invalid_argument for a member that nobody knows, with the one that may have been meant.
Status refuse_unknown_members(const boost::json::object& body);

}  // namespace fused
