// What the zygote and the worker call; core/sandbox/sandbox.hpp is the contract.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "sandbox/group_usage.hpp"
#include "sandbox/sandbox.hpp"

namespace nb = nanobind;

namespace fused::native {
namespace {

[[noreturn]] void raise(const Error& error) {
  if (error.kind == ErrorKind::invalid_argument) throw nb::value_error(error.message.c_str());
  throw std::runtime_error(error.message);
}

int fork_in_python(const std::string& isolation, const std::vector<std::string>& without) {
  if (!without.empty()) fused::probe_sandbox();  // its own forks must not happen between the two calls below
  PyOS_BeforeFork();
  const auto pid = fused::fork_worker(isolation, without);
  if (pid && *pid == 0) {
    PyOS_AfterFork_Child();
    return 0;
  }
  PyOS_AfterFork_Parent();
  if (!pid) raise(pid.error());
  return *pid;
}

std::string enter(const std::string& spec_json) {
  const auto spec = parse_sandbox_spec(spec_json);
  if (!spec) raise(spec.error());
  const auto report = fused::enter_sandbox(*spec);
  if (!report) raise(report.error());
  return to_json(*report);
}

nb::dict told(const GroupUsage& usage) {
  nb::dict out;
  out["memory_bytes"] = usage.memory_bytes;
  out["memory_exact"] = usage.memory_exact;
  out["processes"] = usage.processes;
  out["threads"] = usage.threads;
  out["scratch_bytes"] = usage.scratch_bytes;
  out["scratch_files"] = usage.scratch_files;
  out["written_bytes"] = usage.written_bytes;
  return out;
}

GroupWatch watch_of(int pid, const std::string& scratch, std::int64_t memory_bytes) {
  RunLimits limits;
  limits.memory_bytes = memory_bytes;
  return {pid, scratch, limits};
}

nb::dict sample(int pid, const std::string& scratch, std::int64_t memory_bytes) {
  return told(watch_of(pid, scratch, memory_bytes).sample());
}

}  // namespace

void bind_sandbox(nb::module_& module) {
  module.def("fork_worker", fork_in_python, nb::arg("isolation"), nb::arg("without") = std::vector<std::string>{},
             "Like os.fork(), into namespaces of its own where the machine allows it.");
  module.def("worker_status", fused::worker_status, nb::arg("pid"), nb::arg("status"),
             "The worker's own wait status, from what os.waitpid gave for fork_worker's pid. Once per worker.");
  module.def("enter_sandbox", enter, nb::arg("spec_json"), "Closes this process in, for good; returns a JSON report.");
  module.def("end_children", fused::end_children, "Ends and reaps all that this worker started: how many, or -1.");
  module.def("empty_own_folders", fused::empty_own_folders, "Empties scratch, /tmp and /dev/shm: how much is left.");
  module.def("probe_sandbox", [] { return to_json(fused::probe_sandbox()); }, "What this machine allows, as JSON.");
  module.def("end_group", fused::end_group, nb::arg("pid"), "Kills a worker and all below it, from outside.");
  module.def("group_usage", sample, nb::arg("pid"), nb::arg("scratch"), nb::arg("memory_bytes"),
             "What a worker and all below it use now.");
  nb::class_<GroupWatch>(module, "GroupWatch", "What a worker and all below it use, looked at again and again.")
      .def("sample", [](GroupWatch& watch) { return told(watch.sample()); });
  module.def("group_watch", watch_of, nb::arg("pid"), nb::arg("scratch"), nb::arg("memory_bytes"));
}

}  // namespace fused::native
