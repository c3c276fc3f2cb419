#include "application_ray.hpp"

#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>

#include "sandbox/process_look.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr auto kLookPatience = std::chrono::minutes(3);  // of ray_front: it gives up before, and says why
constexpr auto kServePatience = std::chrono::seconds(20);
constexpr auto kLookPause = std::chrono::seconds(5);
constexpr auto kLeavePatience = std::chrono::seconds(20);

std::int64_t whole(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_number() ? std::llround(value->to_number<double>()) : 0;
}

}  // namespace

RayJobs::RayJobs(asio::io_context& io, const Settings& settings) : io_(io), settings_(settings), timer_(io) {}
RayJobs::~RayJobs() = default;

Result<std::unique_ptr<RayJobs>> RayJobs::open(asio::io_context& io, State& state, const Settings& settings,
                                               const PoolOptions& pool) {
  auto ray = std::make_unique<RayJobs>(io, settings);
  ray->parts.result_bytes_max = settings.limits.result_bytes;
  if (settings.jobs != "ray") return ray;
  spdlog::info("asking the Ray cluster at {} whether it can run our tasks", settings.ray_address);
  FUSED_CHECK(ray->start_child());
  const json::object found = FUSED_TRY(
      ray->ask({{"op", "look"}, {"address", settings.ray_address}, {"mount", settings.ray_mount}}, kLookPatience));
  ray->cluster = {static_cast<int>(whole(found, "nodes")), static_cast<int>(whole(found, "cores")),
                  whole(found, "memory_bytes"), whole(found, "node_memory_bytes")};
  spdlog::info("Ray has {} nodes, {} cores and {} MiB of memory for tasks of jobs", ray->cluster.nodes,
               ray->cluster.cores, ray->cluster.memory_bytes >> 20);
  RemoteWorkersOptions options;
  options.lease = std::chrono::milliseconds(settings.job_lease_ms);
  options.sandbox = {{"isolation", settings.isolation}, {"network", settings.network}};
  options.mount = settings.ray_mount;
  options.environment = pool.zygote.environment;
  ray->workers = std::make_unique<RemoteWorkers>(io, std::move(options));
  ray->parts.workers = ray->workers.get();
  ray->serve_ = {{"op", "serve"}, {"address", settings.ray_address}, {"token", state.run_tokens.begin_driver()}};
  return ray;
}

Status RayJobs::start_child() {
  child_.reset();
  child_.emplace(FUSED_TRY(LineChild::start({settings_.python, "-m", "fused._jobs.ray_front"},
                                            environment_with({{"PYTHONUNBUFFERED", "1"}}))));
  return {};
}

Result<json::object> RayJobs::ask(const json::object& order, std::chrono::milliseconds patience) {
  const std::string line = child_->ask(json::serialize(order), patience);
  boost::system::error_code error;
  const json::value answer = json::parse(line, error);
  if (error || !answer.is_object())
    return fail(ErrorKind::unavailable, "the process that talks to the Ray cluster (" + settings_.python +
                                            " -m fused._jobs.ray_front) gave no answer; its lines above say why");
  const auto* said = answer.get_object().if_contains("error");
  if (said && said->is_string()) return fail(ErrorKind::unavailable, "--jobs ray: " + std::string(said->get_string()));
  return answer.get_object();
}

void RayJobs::serve(const std::string& base_url) {
  if (!is_on()) return;
  serve_["url"] = settings_.ray_server_url.empty() ? base_url : settings_.ray_server_url;
  asio::co_spawn(io_, look_after(), asio::detached);
}

// A child that has ended is started again; it stops the driver that it finds and submits another.
Status RayJobs::serve_again() {
  const auto look = child_ ? look_at(child_->pid()) : std::nullopt;
  const bool is_alive = look && look->state != 'Z';
  if (is_alive && is_serving_) return {};
  if (!is_alive) {
    spdlog::error("the process that talks to the Ray cluster has ended; it is started again");
    is_serving_ = false;
    FUSED_CHECK(start_child());
  }
  FUSED_CHECK(ask(serve_, kServePatience));
  is_serving_ = true;
  return {};
}

asio::awaitable<void> RayJobs::look_after() {
  const auto serve = [this] { return serve_again(); };
  while (!stopped_) {
    const Status served = co_await thread_.run(serve);
    if (stopped_) co_return;
    if (!served) spdlog::error("{}", served.error().message);
    timer_.expires_after(kLookPause);
    boost::system::error_code ignored;
    co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

json::object RayJobs::health() const {
  const RemoteFigures f = workers->figures();
  return {{"nodes_at_start", cluster.nodes},
          {"cores", cluster.cores},
          {"attempts", f.attempts},
          {"waiting", f.waiting},
          {"begun", f.begun},
          {"begun_again", f.begun_again},
          {"late", f.late}};
}

void RayJobs::stop() {
  stopped_ = true;
  timer_.cancel();
  if (workers) workers->stop();
  thread_.post([this] {
    if (child_) child_->let_go(kLeavePatience);  // it stops the driver first
  });
}

}  // namespace fused
