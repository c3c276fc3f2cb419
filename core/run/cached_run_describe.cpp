// What the cache asks a worker about a text, once for each, and what it tells people.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/array.hpp>

#include "run/cached_run.hpp"
#include "run/cached_run_key.hpp"
#include "run/run_order_json.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr auto kDescribeWait = std::chrono::seconds(20);  // a text that nobody parses in it is run without the cache

}  // namespace

asio::awaitable<SharedDescription> CachedRuns::describe(const RunRequest& request) {
  const Digest text = text_digest(*request.function);
  if (auto known = cache_.codes().find(text)) co_return known;
  const RunOrder order = make_run_order(request, {});
  std::string header = "{\"digest\":true,\"udf\":" + order.udf_full() + '}';
  SingleFlight<SharedDescription>::Caller caller;
  caller.work = [this, header = std::move(header), key = order.worker_key] { return ask_worker(header, key); };
  caller.abandon = [] {};
  auto seat = std::make_shared<SingleFlight<SharedDescription>::Seat>();
  const auto landing = co_await descriptions_.fly(text, std::move(caller), std::move(seat));
  if (landing.value && landing.led) cache_.codes().put(text, landing.value);
  co_return landing.value;
}

asio::awaitable<SharedDescription> CachedRuns::ask_worker(std::string header, std::string worker_key) {
  // Shared: a worker that answers too late finds nobody.
  auto answer = std::make_shared<std::optional<Result<std::string>>>();
  auto timer = std::make_shared<asio::steady_timer>(io_, kDescribeWait);
  asio::co_spawn(
      io_,
      [this, answer, timer, header = std::move(header), key = std::move(worker_key)]() -> asio::awaitable<void> {
        auto said = co_await pool_.describe(header, key);
        *answer = std::move(said);
        timer->cancel();
      },
      asio::detached);
  boost::system::error_code ignored;
  co_await timer->async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  if (!*answer || !**answer) co_return nullptr;
  auto described = CodeDescription::of_json(***answer);
  if (!described) co_return nullptr;
  co_return std::make_shared<const CodeDescription>(*std::move(described));
}

asio::awaitable<Result<json::object>> CachedRuns::explain(RunRequest request) {
  const Plan plan = co_await this->plan(request);
  json::object out{{"function", request.function->name}, {"revision", nullptr}};
  if (!request.function->revision.empty()) out["revision"] = request.function->revision;
  if (!plan.on) {
    out["cache"] = "miss";
    out["why"] = json::array{json::string("off: " + plan.off)};
    co_return out;
  }
  const Found found = co_await look(request, plan);
  out["cache"] = found.is_fresh ? "hit" : found.is_stale ? "stale" : "miss";
  json::array why;
  for (const auto& reason : found.why) why.emplace_back(reason);
  out["why"] = std::move(why);
  out["max_age_seconds"] = plan.max_age_seconds;
  out["stale_while_revalidate_seconds"] = plan.stale_seconds;
  out["key"] = plan.key.digest.hex();
  out["is_being_computed"] = flights_.is_flying(plan.key.digest);
  json::object parts;
  for (std::size_t i = 0; i < kKeyParts; ++i) {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(plan.key.parts[i]));
    parts[part_name(static_cast<KeyPart>(i))] = digits;
  }
  out["parts"] = std::move(parts);
  json::array names;
  for (const auto& [name, value] : plan.key.parameters) names.emplace_back(name);
  out["parameters"] = std::move(names);
  out["entry"] = nullptr;
  if (!found.entry) co_return out;
  const CacheEntry& entry = *found.entry;
  json::array functions, files;
  for (const auto& use : entry.functions) functions.push_back(json::object{{"id", use.id}, {"revision", use.revision}});
  for (const auto& use : entry.files) files.emplace_back(use.path);
  out["entry"] = json::object{{"age_seconds", found.age_seconds},  {"run_id", entry.run_id},
                              {"revision", entry.revision},        {"content_type", entry.content_type},
                              {"bytes", entry.body.view.size()},   {"computed_in_seconds", entry.cost_seconds},
                              {"functions", std::move(functions)}, {"files", std::move(files)}};
  co_return out;
}

}  // namespace fused
