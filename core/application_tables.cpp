#include "application_tables.hpp"

#include <algorithm>
#include <cstdlib>

namespace fused {
namespace {

constexpr std::int64_t kMemoryBytes = 2LL << 30;  // of one process; a read may use half
constexpr int kProcessesMax = 4;

// What Arrow's S3 client looks for, and where TLS finds certificates.
std::vector<std::string> environment() {
  std::vector<std::string> lines{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"};
  for (const char* name :
       {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"})
    if (const char* value = std::getenv(name)) lines.push_back(std::string(name) + '=' + value);
  return lines;
}

}  // namespace

Result<std::unique_ptr<Tables>> Tables::open(boost::asio::io_context& io, State& state, const Settings& settings,
                                             const PoolOptions& pool, const Clock& clock) {
  auto tables = std::make_unique<Tables>(*state.database, clock);
  FUSED_CHECK(tables->registry.start());
  TableProcessesOptions options;
  std::error_code error;
  options.program = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "fused-table";
  options.scratch = pool.scratch;
  options.sandbox = pool.sandbox;
  options.sandbox["limits"].as_object()["memory_bytes"] = kMemoryBytes;
  options.environment = environment();
  options.processes = std::clamp(settings.workers, 1, kProcessesMax);
  tables->service = std::make_unique<TableService>(io, tables->registry, std::move(options));
  tables->parts = {.service = tables->service.get(),
                   .shares = &*state.shares,
                   .people = &*state.people,
                   .thread = &state.thread,
                   .clock = &clock,
                   .data = std::filesystem::absolute(state.data->path())};
  return tables;
}

}  // namespace fused
