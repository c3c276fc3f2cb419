// The one visible list of what the server answers; api/openapi.yaml says the same in the other direction.
#pragma once
#include <vector>

#include "http/parts.hpp"
#include "http/router.hpp"

namespace fused {

// Parts must outlive the rows.
std::vector<Route> all_routes(Parts& parts);

}  // namespace fused
