// What a function asks of its own runs by @fused.udf(limits={…}): less than the server's limits, never more. The worker
// sends it (frame `limits`) when it has read the decorator, before it calls the function; python/fused/_limits.py has
// the same names.
#pragma once
#include <boost/json/object.hpp>
#include <string>

#include "base/settings.hpp"

namespace fused {

struct OwnLimits {
  RunLimits limits;  // in force: the lower of both
  std::string note;  // for people, where a wish was above the server's limit: "…"; else ""
};
// Names and values that the SDK would have refused are passed over: whoever sends such a frame past it gains nothing.
// `without_wall`: of a run whose time is not its function's to bound any more.
OwnLimits own_limits(const RunLimits& of_server, const boost::json::object& asked, bool without_wall = false);

}  // namespace fused
