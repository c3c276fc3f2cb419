// Python objects as JSON text: None, bool, int of any size, float, str, list, tuple, set, dict; everything else is
// handed to `other`, a Python callable that answers with one of these, or with bytes that are JSON already, or raises.
#pragma once
#include <nanobind/nanobind.h>

#include <string>

namespace fused::native {

inline constexpr int kJsonDepthMax = 512;

// Throws the Python error of `other`, or EncodeError: nested deeper than kJsonDepthMax (a list that contains itself
// is).
void append_json_value(std::string& out, nanobind::handle value, nanobind::handle other);

}  // namespace fused::native
