// The .npy format, version 1.0 (2.0 where the header needs it).
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace fused::result {

// Everything before the data. `descr` is the Python text of the dtype ("'<f8'" or a list for structured types).
std::string npy_header(std::string_view descr, bool fortran_order, const std::vector<std::int64_t>& shape);

}  // namespace fused::result
