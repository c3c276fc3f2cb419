// JSON as people wrote it: Boost's own reader is off by one unit in the last place for about a tenth of all doubles
// (1.81), and reads whole numbers beyond 64 bits as doubles.
#pragma once
#include <boost/json/value.hpp>
#include <string_view>

#include "base/result.hpp"

namespace fused {

// One value, nested at most `depth_max` deep; doubles correctly rounded (as Python reads them), numbers too large for a
// double are infinite as in Python. invalid_argument says what is wrong and at which byte: also a whole number that 64
// bits do not hold, which would have to be changed to be kept.
Result<boost::json::value> parse_json(std::string_view text, std::size_t depth_max = 32);

}  // namespace fused
