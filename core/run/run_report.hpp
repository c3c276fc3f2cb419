// What a run's end means: the outcome that is sent and the record that is kept.
#pragma once
#include "logs/run_record.hpp"
#include "logs/streams.hpp"
#include "run/outcome.hpp"
#include "run/run_request.hpp"

namespace fused {

struct RunReport {
  RunOutcome outcome;
  RunRecord record;
};

// The function's header modules as they stand in udf.json.
std::string headers_json(const FunctionSource& function);

// `seconds`: from the order to its end, queue included; a worker that reports its own time overrides it.
RunReport make_report(const RunRequest& request, RunReply& reply, const CapturedStream& out, const CapturedStream& err,
                      WallTime started, double seconds);

}  // namespace fused
