// Of CachedRuns: the results of a batch are one entry, found by everything but the calls' own arguments.
#include "run/cached_run.hpp"
#include "run/cached_run_age.hpp"

namespace fused {
namespace asio = boost::asio;
namespace {

constexpr std::string_view kSawCaller = "it looked at fused.context";  // as fused/context.py says it

}  // namespace

asio::awaitable<KeptBatch> CachedRuns::begin_batch(const RunRequest& request) {
  KeptBatch kept;
  uses_[request.run_id];
  const Plan plan = co_await this->plan(request);
  kept.on = plan.on;
  if (!plan.on) co_return kept;
  kept.key = plan.key;
  kept.key.digest = Hasher().add("batch 1").add(plan.key.digest.hex()).finish();
  kept.sees_caller = plan.sees_caller;
  kept.max_age_seconds = plan.max_age_seconds;
  kept.generation = cache_.generation(plan.key.group);
  if (request.cache.reset) {
    cache_.forget(kept.key.digest);
    co_return kept;
  }
  kept.entry = co_await cache_.find(kept.key.digest);
  if (kept.entry)
    if (const std::string why = co_await changed(kept.entry->functions, kept.entry->files); !why.empty())
      kept.entry = nullptr;
  kept.oldest_ms = cache_.now_ms() - kept.max_age_seconds * 1000;
  co_return kept;
}

void CachedRuns::note_batch(const std::string& run_id, const RunUses& uses) {
  const auto found = uses_.find(run_id);
  if (found == uses_.end()) return;
  found->second.add(uses);
  if (found->second.not_stored.empty()) found->second.not_stored = uses.not_stored;
}

asio::awaitable<std::string> CachedRuns::keep_batch(const RunRequest& request, KeptBatch kept,
                                                    std::function<asio::awaitable<Bytes>(std::int64_t)> pack,
                                                    double cost_seconds) {
  auto noted = uses_.extract(request.run_id);
  RunUses uses = noted ? std::move(noted.mapped()) : RunUses{};
  if (kept.entry) {  // some of the calls may have come from it
    for (const auto& use : kept.entry->functions) uses.add(use);
    for (const auto& use : kept.entry->files) uses.add(use);
  }
  note_for_parent(request, uses);
  if (!pack) co_return std::string("nothing new ended well");
  const bool of_caller = uses.not_stored == kSawCaller && kept.sees_caller;
  if (!uses.not_stored.empty() && !of_caller) co_return uses.not_stored;
  if (std::string why = co_await changed(uses.functions, uses.files); !why.empty())
    co_return why + " changed while it ran";
  const std::int64_t now = cache_.now_ms();
  Bytes body = co_await pack(now);
  if (body.view.empty()) co_return std::string("its results are too large to be kept as one");
  if (kept.generation != cache_.generation(kept.key.group)) co_return std::string("it was forgotten while it ran");
  auto entry = std::make_shared<CacheEntry>();
  entry->key = kept.key;
  entry->created_ms = now;
  entry->expires_ms = now + kept.max_age_seconds * 1000;
  entry->cost_seconds = cost_seconds;
  entry->organisation = request.function->organisation;
  entry->owner_email = request.function->owner_email;
  entry->run_id = request.folder_id;
  entry->revision = request.function->revision;
  entry->content_type = "application/vnd.fused.calls";
  entry->functions = uses.functions;
  entry->files = uses.files;
  entry->etag = etag_of_check(check_of(body.view));
  entry->body = std::move(body);
  cache_.put(std::move(entry));
  co_return std::string();
}

}  // namespace fused
