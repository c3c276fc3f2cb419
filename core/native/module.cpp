// fused._native: what Python takes from the C++ core. Each room binds its part in a file of its own.
#include <nanobind/nanobind.h>

namespace fused::native {
void bind_cache(nanobind::module_& module);
void bind_fingerprint(nanobind::module_& module);
void bind_ingest(nanobind::module_& module);
void bind_result(nanobind::module_& module);
void bind_sandbox(nanobind::module_& module);
void bind_table(nanobind::module_& module);
}  // namespace fused::native

NB_MODULE(_native, module) {
  nanobind::set_leak_warnings(false);  // workers leave by _exit; the warning would land in a user's stderr
  fused::native::bind_cache(module);
  fused::native::bind_fingerprint(module);
  fused::native::bind_ingest(module);
  fused::native::bind_result(module);
  fused::native::bind_sandbox(module);
  fused::native::bind_table(module);
}
