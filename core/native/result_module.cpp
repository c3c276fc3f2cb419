#include <nanobind/nanobind.h>

namespace fused::native {

void bind_result(nanobind::module_&) {}

}  // namespace fused::native
