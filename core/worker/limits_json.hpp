// RunLimits as one writes them into JSON: for the sandbox of a fork, for nodes of a cluster, for /health.
#pragma once
#include <boost/json/object.hpp>

#include "base/settings.hpp"

namespace fused {

inline boost::json::object limits_json(const RunLimits& l) {
  return {{"wall_ms", l.wall_ms},
          {"memory_bytes", l.memory_bytes},
          {"stream_bytes", l.stream_bytes},
          {"result_bytes", l.result_bytes},
          {"processes", l.processes},
          {"descriptors", l.descriptors},
          {"disk_written_bytes", l.disk_written_bytes},
          {"files_made", l.files_made}};
}

}  // namespace fused
