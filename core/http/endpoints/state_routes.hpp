// The rows of the route list that show and change what the server keeps.
#pragma once
#include <vector>

#include "http/endpoints/state_parts.hpp"
#include "http/router.hpp"

namespace fused {

// `parts` must outlive the rows.
std::vector<Route> state_routes(StateParts& parts);

}  // namespace fused
