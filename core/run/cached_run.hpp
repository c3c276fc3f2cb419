// The result cache in front of the runs: docs/decisions/0004-result-cache.md. One thread.
#pragma once
#include <boost/json/object.hpp>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "cache/result_cache.hpp"
#include "cache/single_flight.hpp"
#include "run/cached_run_environment.hpp"
#include "run/cached_run_uses.hpp"
#include "run/key_memory.hpp"
#include "run/run_service.hpp"

namespace fused {

inline constexpr std::int64_t kCacheMaxAgeDefault = 90 * 86'400;  // the seed's 90 d

struct CachedRunsOptions {
  std::int64_t max_age_seconds = kCacheMaxAgeDefault;  // where neither call nor function say one
};

// What is kept of earlier batches of the same function, format and arguments for all calls.
struct KeptBatch {
  bool on = false;  // are results kept
  CacheKey key;
  bool sees_caller = false;
  std::int64_t max_age_seconds = 0;
  std::int64_t oldest_ms = 0;  // a call's result that was made before is too old
  std::uint64_t generation = 0;
  SharedCacheEntry entry;  // null: nothing, or what it used has changed
};

class CachedRuns {
 public:
  // All outlive it. It becomes the front of `runs`: whoever calls RunService::run comes by here.
  CachedRuns(boost::asio::io_context& io, RunService& runs, Pool& pool, ResultCache& cache,
             EnvironmentDigest& environment, UseCheck uses, CachedRunsOptions options);
  CachedRuns(const CachedRuns&) = delete;

  // From the cache, or by the one run that all callers of the key wait for. The outcome says which (x-fused-cache).
  boost::asio::awaitable<Result<RunOutcome>> run(RunRequest request, std::shared_ptr<RunTicket> ticket, RunBegun begun);
  // What `run` would do, and why; nothing is run.
  boost::asio::awaitable<Result<boost::json::object>> explain(RunRequest request);
  // A handler that also notes what running functions load.
  NestedHandler noting(NestedHandler inner);

  // From here to keep_batch, which must follow, what the calls use is noted.
  boost::asio::awaitable<KeptBatch> begin_batch(const RunRequest& request);
  void note_batch(const std::string& run_id, const RunUses& uses);
  // `pack` gives the entry's bytes, made at that time (ms since 1970), empty where they are too many; null where there
  // is nothing to keep. "" where it was kept, else why not.
  boost::asio::awaitable<std::string> keep_batch(const RunRequest& request, KeptBatch kept,
                                                 std::function<boost::asio::awaitable<Bytes>(std::int64_t)> pack,
                                                 double cost_seconds);

  // Drops the results of a function, or of one of its tiles. Runs that go on are not stored.
  void forget(std::string_view organisation, std::string_view owner_id, std::string_view function,
              const std::optional<TileId>& tile);
  ResultCache& cache() { return cache_; }

 private:
  struct Plan {
    bool on = false;
    std::string off;  // why not
    CacheKey key;
    bool sees_caller = false;  // who asks is in the key
    std::int64_t max_age_seconds = 0;
    std::int64_t stale_seconds = 0;  // a tile so much older than that is answered while it is made anew
    std::int64_t error_seconds = 0;  // how long a failure of the function's own is answered again
  };
  struct Found {
    SharedCacheEntry entry;  // null: nothing is known
    std::int64_t age_seconds = 0;
    bool is_fresh = false;
    bool is_stale = false;         // may be answered all the same
    std::vector<std::string> why;  // of a miss
  };
  using Outcome = Result<RunOutcome>;

  boost::asio::awaitable<Plan> plan(const RunRequest& request);
  boost::asio::awaitable<SharedDescription> describe(const RunRequest& request);
  boost::asio::awaitable<SharedDescription> ask_worker(std::string header, std::string worker_key);
  boost::asio::awaitable<Found> look(const RunRequest& request, const Plan& plan);
  boost::asio::awaitable<Outcome> miss(RunRequest request, Plan plan, std::vector<std::string> why,
                                       std::shared_ptr<RunTicket> ticket, RunBegun begun);
  boost::asio::awaitable<Outcome> execute(RunRequest request, const Plan* plan, std::shared_ptr<RunTicket> ticket,
                                          RunBegun begun);
  void refresh(const RunRequest& request, const Plan& plan);
  // Who joins a flight is given the conversation of the run that flies: as soon as there is one, and again where
  // another has to take over.
  struct Begun;
  std::shared_ptr<Begun> tell_begun(const Digest& key, RunBegun begun);
  // "" where it was stored, else why not.
  boost::asio::awaitable<std::string> store(const RunRequest& request, const Plan& plan, const RunOutcome& outcome,
                                            const RunUses& uses, std::uint64_t generation);
  boost::asio::awaitable<std::string> changed(const std::vector<FunctionUse>& functions,
                                              const std::vector<FileUse>& files);
  void note_for_parent(const RunRequest& request, const RunUses& uses);
  Outcome answer(const RunRequest& request, const Found& found, bool stale);

  boost::asio::io_context& io_;
  RunService& runs_;
  Pool& pool_;
  ResultCache& cache_;
  EnvironmentDigest& environment_;
  UseCheck use_check_;
  CachedRunsOptions options_;
  KeyMemory keys_;
  SingleFlight<Outcome> flights_;
  SingleFlight<SharedDescription> descriptions_;
  struct Begun {
    std::weak_ptr<RunConversation> conversation;
    std::vector<RunBegun> told;
  };
  std::unordered_map<Digest, std::shared_ptr<Begun>, DigestHash> begun_;  // of what flies
  std::unordered_map<std::string, RunUses> uses_;                         // of the runs that go on, by run id
};

}  // namespace fused
