#include <nanobind/nanobind.h>

namespace fused::native {

void bind_sandbox(nanobind::module_&) {}

}  // namespace fused::native
