// Numbers of a query that may be as large as they like.
#pragma once
#include <cstdint>
#include <string_view>

#include "http/message.hpp"

namespace fused {

// `fallback` where the query does not name it; invalid_argument for what is no whole number from 0 up.
Result<std::int64_t> whole_from_zero(const Request& request, std::string_view name, std::int64_t fallback);

}  // namespace fused
