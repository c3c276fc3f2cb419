// fused-table: reads for the server what users have made, in a sandbox. Started by it with one argument, JSON:
//   {"nonce":"<u64 as decimal>","sandbox":{…core/sandbox/sandbox.hpp…}}   tables; the socket is descriptor 3
//   {"calls": bytes,"sandbox":{…}}   calls.parquet of a batch: descriptor 3 has its results, 4 becomes the table
#include <arrow/memory_pool.h>
#include <dlfcn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>

#include "reader/calls_table.hpp"
#include "reader/serve.hpp"
#include "sandbox/sandbox.hpp"

namespace {

constexpr int kSocket = 3;
constexpr int kTable = 4;

// GEOS as shapely brings it, beside the Arrow that this program runs with. Polygons are mended by it; without it they
// are left out.
std::shared_ptr<fused::result::Geos> find_geos() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&arrow::default_memory_pool), &info) == 0) return nullptr;
  const auto packages = std::filesystem::path(info.dli_fname).parent_path().parent_path();
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(packages / "shapely.libs", error))
    if (file.path().filename().string().starts_with("libgeos_c"))
      if (auto geos = fused::result::Geos::open(file.path().string())) return *geos;
  return nullptr;
}

int stop(std::string_view why) {
  std::cerr << "fused-table: " << why << "\n";
  return 1;
}

int read_tables(const fused::SandboxSpec& spec, std::uint64_t nonce) {
  auto geos = find_geos();
  const auto entered = fused::enter_sandbox(spec);
  if (!entered) return stop(entered.error().message);
  const std::string mount = entered->mount == "namespace" ? "/mount" : spec.mount.string();
  fused::reader::Answerer answerer(std::move(geos), mount);
  const auto served = fused::reader::serve(kSocket, nonce, answerer);
  return served ? 0 : stop(served.error().message);
}

// Descriptor 3 has the results of a batch, 4 becomes its calls.parquet. What calls printed and returned lies in them.
int write_calls(fused::SandboxSpec spec, std::int64_t bytes) {
  spec.keep_descriptors = {kSocket, kTable};
  const auto entered = fused::enter_sandbox(spec);
  if (!entered) return stop(entered.error().message);
  const auto written = fused::reader::write_calls_table(kSocket, static_cast<std::uint64_t>(bytes), kTable);
  return written ? 0 : stop(written.error().message);
}

struct Order {
  fused::SandboxSpec spec;
  std::uint64_t nonce = 0;
  std::optional<std::int64_t> calls;  // bytes of a batch's results
};

fused::Result<Order> order_of(std::string_view text) {
  const auto wrong = [](const char* what) { return fused::fail(fused::ErrorKind::invalid_argument, what); };
  boost::system::error_code error;
  const auto value = boost::json::parse(text, error);
  if (error || !value.is_object()) return wrong("its argument is no JSON object");
  const auto& object = value.get_object();
  const auto* sandbox = object.if_contains("sandbox");
  const auto* nonce = object.if_contains("nonce");
  const auto* calls = object.if_contains("calls");
  if (!sandbox) return wrong("its argument has no sandbox");
  Order order{FUSED_TRY(fused::parse_sandbox_spec(boost::json::serialize(*sandbox))), 0, std::nullopt};
  if (calls && calls->is_int64() && calls->get_int64() >= 0)
    order.calls = calls->get_int64();
  else if (nonce && nonce->is_string())
    order.nonce = std::strtoull(nonce->get_string().c_str(), nullptr, 10);
  else
    return wrong("its argument has neither a nonce nor calls");
  return order;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return stop("the server starts this program; see docs/reference/tables.md");
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto order = order_of(arguments[1]);
  if (!order) return stop(order.error().message);
  const auto child = fused::fork_worker(order->spec.isolation, order->spec.without);
  if (!child) return stop(child.error().message);
  if (*child == 0) {
    const int status = order->calls ? write_calls(order->spec, *order->calls) : read_tables(order->spec, order->nonce);
    std::cerr.flush();
    ::_exit(status);  // no destructors of libraries whose threads may still run
  }
  ::close(kSocket);  // else the server would not see the child's end
  int status = 0;
  while (::waitpid(*child, &status, 0) < 0 && errno == EINTR) {
  }
  status = fused::worker_status(*child, status);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
