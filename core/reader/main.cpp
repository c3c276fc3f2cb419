// fused-table: reads tables for the server, in a sandbox. Started by it with one argument, JSON:
//   {"nonce":"<u64 as decimal>","sandbox":{…core/sandbox/sandbox.hpp…}}
// and the socket as descriptor 3.
#include <arrow/memory_pool.h>
#include <dlfcn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <iostream>

#include "reader/calls_table.hpp"
#include "reader/serve.hpp"
#include "sandbox/sandbox.hpp"

namespace {

constexpr int kSocket = 3;

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

// fused-table calls BYTES: descriptor 3 has the results of a batch, 4 becomes its calls.parquet.
int write_calls(std::string_view bytes) {
  std::uint64_t size = 0;
  if (std::from_chars(bytes.data(), bytes.data() + bytes.size(), size).ec != std::errc{}) return stop("calls BYTES");
  const auto written = fused::reader::write_calls_table(3, size, 4);
  return written ? 0 : stop(written.error().message);
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 3 && std::string_view(arguments[1]) == "calls") return write_calls(arguments[2]);
  if (count != 2) return stop("the server starts this program; see docs/reference/tables.md");
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  boost::system::error_code error;
  const auto order = boost::json::parse(arguments[1], error);
  if (error || !order.is_object()) return stop("its argument is no JSON object");
  const auto* nonce = order.get_object().if_contains("nonce");
  const auto* sandbox = order.get_object().if_contains("sandbox");
  if (!nonce || !nonce->is_string() || !sandbox) return stop("its argument has no nonce or no sandbox");
  const auto spec = fused::parse_sandbox_spec(boost::json::serialize(*sandbox));
  if (!spec) return stop(spec.error().message);
  const std::uint64_t number = std::strtoull(nonce->get_string().c_str(), nullptr, 10);
  const auto child = fused::fork_worker(spec->isolation, spec->without);
  if (!child) return stop(child.error().message);
  if (*child == 0) {
    const int status = read_tables(*spec, number);
    std::cerr.flush();
    ::_exit(status);  // no destructors of libraries whose threads may still run
  }
  ::close(kSocket);  // else the server would not see the child's end
  int status = 0;
  while (::waitpid(*child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
