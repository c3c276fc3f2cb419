#include "worker/own_limits.hpp"

#include <array>
#include <cmath>
#include <cstdio>

namespace fused {
namespace {

struct Named {
  std::string_view name;
  std::int64_t RunLimits::* limit;
  double unit = 1;  // of the name, in units of the limit
};
constexpr std::array kNamed{Named{"wall_seconds", &RunLimits::wall_ms, 1e3},
                            Named{"memory_bytes", &RunLimits::memory_bytes},
                            Named{"stream_bytes", &RunLimits::stream_bytes},
                            Named{"result_bytes", &RunLimits::result_bytes},
                            Named{"processes", &RunLimits::processes},
                            Named{"descriptors", &RunLimits::descriptors},
                            Named{"disk_written_bytes", &RunLimits::disk_written_bytes},
                            Named{"files_made", &RunLimits::files_made}};

std::string shown(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.15g", value);
  return text;
}

}  // namespace

OwnLimits own_limits(const RunLimits& of_server, const boost::json::object& asked, bool without_wall) {
  OwnLimits own{of_server, {}};
  for (const Named& named : kNamed) {
    const auto* value = asked.if_contains(named.name);
    if (!value || !value->is_number() || (without_wall && named.limit == &RunLimits::wall_ms)) continue;
    const double wanted = value->to_number<double>();
    std::int64_t& limit = own.limits.*(named.limit);
    if (!(wanted > 0)) continue;
    if (wanted * named.unit <= static_cast<double>(limit)) {
      limit = std::max<std::int64_t>(1, std::llround(wanted * named.unit));
      continue;
    }
    own.note += own.note.empty() ? "" : "; ";
    own.note += "the function's limit " + std::string(named.name) + " of " + shown(wanted) +
                " is above this server's, which holds: " + shown(static_cast<double>(limit) / named.unit);
  }
  return own;
}

}  // namespace fused
