// The rows of the route list that run functions.
#pragma once
#include <vector>

#include "http/endpoints/run.hpp"
#include "http/router.hpp"

namespace fused {

// `parts` must outlive the rows.
std::vector<Route> run_routes(RunParts& parts);

}  // namespace fused
