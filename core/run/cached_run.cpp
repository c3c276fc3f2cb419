#include "run/cached_run.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "base/ids.hpp"
#include "run/cached_run_age.hpp"
#include "run/cached_run_failure.hpp"
#include "run/cached_run_key.hpp"

namespace fused {
namespace asio = boost::asio;
namespace {

constexpr std::string_view kSawCaller = "it looked at fused.context";  // as fused/context.py says it
constexpr const char* kWhereAsked = "this server caches where it is asked to";
constexpr std::size_t kFilesOnLoopMax = 64;  // more are looked at by the thread that may wait

bool is_crash(const Result<RunOutcome>& outcome) {
  return outcome && (outcome->outcome == "crashed" || outcome->outcome == "no_result");
}

Result<RunOutcome> left() {
  RunOutcome outcome;
  outcome.outcome = "cancelled";
  outcome.status = 409;
  outcome.error_class = "CancelledError";
  outcome.error_message = "nobody waits for the run any more";
  return outcome;
}

// Who asks for a job where the limit is reached does not join a run that would end there.
Digest flight_of(const Digest& key, OnTimeout on_timeout) {
  if (on_timeout != OnTimeout::job) return key;
  Hasher hasher;
  hasher.add("on_timeout job");
  hasher.add(key.hex());
  return hasher.finish();
}

bool says_no_store(const RunOutcome& outcome) {
  return std::ranges::any_of(outcome.headers, [](const auto& header) {
    std::string name = header.first, value = header.second;
    for (std::string* text : {&name, &value})
      for (char& c : *text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return name == "cache-control" && value.find("no-store") != std::string::npos;
  });
}

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const auto& part : parts) {
    if (out.size() > 500) return out + ", …";
    out += (out.empty() ? "" : ", ") + part;
  }
  return out;
}

// One line of ASCII, as a header may hold it.
std::string header_text(std::string_view text) {
  std::string out;
  for (const char c : text) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out;
}

std::string with_not_stored(const std::string& why, const RunOutcome& outcome) {
  if (outcome.not_stored.empty()) return why;
  return why + "; not stored: " + outcome.not_stored;
}

void say(RunOutcome& outcome, std::string_view state, std::int64_t age_seconds, const std::string& revision,
         const std::string& why) {
  auto& headers = outcome.cache_headers;
  headers.clear();
  headers.emplace_back("x-fused-cache", state);
  if (state != "miss") headers.emplace_back("x-fused-cache-age", std::to_string(age_seconds));
  if (state != "miss") headers.emplace_back("x-fused-cached", "true");
  if (!revision.empty()) headers.emplace_back("x-fused-revision", revision);
  if (!why.empty()) headers.emplace_back("x-fused-cache-why", header_text(why));
}

}  // namespace

CachedRuns::CachedRuns(asio::io_context& io, RunService& runs, Pool& pool, ResultCache& cache,
                       EnvironmentDigest& environment, UseCheck uses, CachedRunsOptions options)
    : io_(io),
      runs_(runs),
      pool_(pool),
      cache_(cache),
      environment_(environment),
      use_check_(std::move(uses)),
      options_(options),
      flights_(io, is_crash),
      descriptions_(io, [](const SharedDescription&) { return false; }) {
  runs_.set_functions_used([this](const std::string& run_id) {
    const auto found = uses_.find(run_id);
    return found == uses_.end() ? std::string() : functions_json(found->second);
  });
  runs_.set_front([this](RunRequest request, std::shared_ptr<RunTicket> ticket, RunBegun begun) {
    return run(std::move(request), std::move(ticket), std::move(begun));
  });
}

asio::awaitable<CachedRuns::Plan> CachedRuns::plan(const RunRequest& request) {
  Plan plan;
  const CacheWish& wish = request.cache;
  auto said = wish.max_age_seconds ? wish.max_age_seconds : request.function->cache_max_age_seconds;
  if (request.profile) plan.off = "a profile is of one run";
  if (request.fresh) plan.off = "a fresh worker was asked for";
  if (request.not_from_cache) plan.off = "the share token says so";
  if (said && *said == 0) plan.off = wish.max_age_seconds ? "cache_max_age is 0" : "the function's cache_max_age is 0";
  const bool may_be_stated = request.function->code.find("cache_max_age") != std::string::npos;
  if (plan.off.empty() && !said && options_.max_age_seconds == 0 && !may_be_stated) plan.off = kWhereAsked;
  if (!plan.off.empty()) co_return plan;
  const Digest environment = environment_.current();
  std::string call = KeyMemory::text_of(request, environment);
  const KeyMemory::Known* known = keys_.find(call, request);
  SharedDescription code = known ? known->code : nullptr;
  if (!code) code = co_await describe(request);
  if (!code) {
    plan.off = "the function's text could not be read";
    co_return plan;
  }
  if (!said) said = code->cache_max_age_seconds;
  plan.max_age_seconds = said.value_or(options_.max_age_seconds);
  if (plan.max_age_seconds == 0) {
    plan.off = said ? "the function's cache_max_age is 0" : kWhereAsked;
    co_return plan;
  }
  plan.on = true;
  plan.sees_caller = code->sees_caller;
  plan.error_seconds = std::min(code->cache_errors_seconds.value_or(0), kCacheErrorsSecondsMax);
  if (known) {
    plan.key = known->key;
  } else {
    plan.key = key_of(request, *code, environment);
    keys_.put(std::move(call), request, code, plan.key);
  }
  if (request.tile) {
    plan.stale_seconds = code->stale_while_revalidate_seconds.value_or(0);
    for (const auto& [name, value] : request.headers)
      if (name == "cache-control") plan.stale_seconds = std::max(plan.stale_seconds, stale_seconds_of(value));
  }
  co_return plan;
}

asio::awaitable<CachedRuns::Found> CachedRuns::look(const RunRequest& request, const Plan& plan) {
  Found found;
  if (request.cache.reset) {
    found.why = {"reset"};
    co_return found;
  }
  found.entry = co_await cache_.find(plan.key.digest);
  if (!found.entry) {
    const auto changes = cache_.changes(plan.key);
    if (!changes)
      found.why = {"first"};
    else if (changes->empty())
      found.why = {"removed"};
    else
      found.why = *changes;
    co_return found;
  }
  const CacheEntry& entry = *found.entry;
  const bool failed = entry.content_type == kFailureType;
  const ResultAge age =
      failed ? result_age(entry.created_ms, cache_.now_ms(), std::min(plan.error_seconds, plan.max_age_seconds), 0)
             : result_age(entry.created_ms, cache_.now_ms(), plan.max_age_seconds, plan.stale_seconds);
  found.age_seconds = age.seconds;
  if (std::string why = co_await changed(entry.functions, entry.files); !why.empty()) {
    found.why = {std::move(why)};
    co_return found;
  }
  found.is_fresh = age.is_fresh;
  found.is_stale = age.is_stale;
  if (!age.is_fresh) found.why = {age.is_future ? "from the future" : failed ? "it failed the last time" : "expired"};
  co_return found;
}

asio::awaitable<std::string> CachedRuns::changed(const std::vector<FunctionUse>& functions,
                                                 const std::vector<FileUse>& files) {
  if (std::string why = use_check_.changed(functions); !why.empty()) co_return why;
  if (files.size() <= kFilesOnLoopMax) co_return use_check_.changed(files);
  const auto look = [this, files] { return use_check_.changed(files); };
  co_return co_await cache_.ask_reader(look);
}

CachedRuns::Outcome CachedRuns::answer(const RunRequest& request, const Found& found, bool stale) {
  const CacheEntry& entry = *found.entry;
  cache_.count(stale ? CacheAnswer::stale : CacheAnswer::hit);
  cache_.remember(entry.key);
  RunOutcome outcome;
  outcome.status = entry.status;
  outcome.content_type = entry.content_type;
  outcome.format = entry.format;
  outcome.headers = entry.headers;
  if (entry.content_type != kFailureType || !restore_failure(entry.body.view, outcome)) outcome.body = entry.body;
  outcome.metadata = entry.metadata;
  outcome.note = entry.note;
  outcome.run_id = request.run_id;
  outcome.execution_seconds = entry.cost_seconds;
  outcome.etag = entry.etag;
  say(outcome, stale ? "stale" : "hit", found.age_seconds, entry.revision, stale ? "expired" : "");
  cache_.hit_log().add({.request_id = request.run_id,
                        .user_email = request.actor.email,
                        .udf_name = request.function->name,
                        .udf_id = request.function->id,
                        .revision = entry.revision,
                        .cached_from = entry.run_id,
                        .state = stale ? "stale" : "hit",
                        .by_share_token = request.actor.kind == ActorKind::share_token});
  if (request.actor.kind == ActorKind::run) {
    RunUses uses;
    for (const auto& use : entry.functions) uses.add(use);
    for (const auto& use : entry.files) uses.add(use);
    note_for_parent(request, uses);
  }
  return outcome;
}

asio::awaitable<CachedRuns::Outcome> CachedRuns::run(RunRequest request, std::shared_ptr<RunTicket> ticket,
                                                     RunBegun begun) {
  const Plan plan = co_await this->plan(request);
  if (ticket->is_cancelled()) co_return left();
  if (!plan.on) {
    const std::string revision = request.function->revision;
    auto outcome = co_await execute(std::move(request), nullptr, std::move(ticket), std::move(begun));
    if (outcome) say(*outcome, "miss", 0, revision, "off: " + plan.off);
    co_return outcome;
  }
  const Found found = co_await look(request, plan);
  if (found.is_fresh) co_return answer(request, found, false);
  if (found.is_stale) {
    refresh(request, plan);
    co_return answer(request, found, true);
  }
  if (request.cache.reset) cache_.forget(plan.key.digest);
  co_return co_await miss(std::move(request), plan, found.why, std::move(ticket), std::move(begun));
}

asio::awaitable<CachedRuns::Outcome> CachedRuns::miss(RunRequest request, Plan plan, std::vector<std::string> why,
                                                      std::shared_ptr<RunTicket> ticket, RunBegun begun) {
  const std::string inside = request.actor.kind == ActorKind::run ? request.actor.run_id : std::string();
  const std::string run_id = request.run_id, revision = request.function->revision, reasons = joined(why);
  const Digest key = flight_of(plan.key.digest, request.on_timeout);
  if (!flights_.may_join(key, inside)) {
    cache_.count(CacheAnswer::miss);
    auto outcome = co_await execute(std::move(request), &plan, std::move(ticket), std::move(begun));
    if (outcome) say(*outcome, "miss", 0, revision, with_not_stored(reasons, *outcome));
    co_return outcome;
  }
  auto flight_ticket = std::make_shared<RunTicket>();
  auto seat = std::make_shared<SingleFlight<Outcome>::Seat>();
  SingleFlight<Outcome>::Caller caller;
  caller.name = run_id;
  caller.inside = inside;
  caller.abandon = [flight_ticket] { flight_ticket->cancel(RunEnd::cancelled, "nobody waits for the run any more"); };
  const RunRequest mine = request;
  const auto of_flight = tell_begun(key, std::move(begun));
  caller.work = [this, mine, plan, flight_ticket, of_flight] {
    RunBegun all = [of_flight](std::shared_ptr<RunConversation> conversation) {
      of_flight->conversation = conversation;
      for (const RunBegun& each : of_flight->told) each(conversation);
    };
    return execute(mine, &plan, flight_ticket, std::move(all));
  };
  ticket->on_cancel = [seat] { seat->leave(left()); };
  auto landing = co_await flights_.fly(key, std::move(caller), seat);
  ticket->on_cancel = nullptr;
  if (const auto found = begun_.find(key); found != begun_.end() && !flights_.is_flying(key)) begun_.erase(found);
  cache_.count(landing.led ? CacheAnswer::miss : CacheAnswer::joined);
  if (!landing.value) co_return landing.value;
  RunOutcome& outcome = *landing.value;
  if (outcome.is_promoted() && !landing.led) outcome = promoted_for(outcome, request);
  const bool shared = !landing.led && outcome.ok();
  outcome.run_id = run_id;
  say(outcome, shared ? "hit" : "miss", 0, revision,
      shared ? "joined a run that was going on" : with_not_stored(reasons, outcome));
  if (!landing.led && outcome.uses) note_for_parent(request, *outcome.uses);  // none: this caller has left
  co_return landing.value;
}

std::shared_ptr<CachedRuns::Begun> CachedRuns::tell_begun(const Digest& key, RunBegun begun) {
  std::shared_ptr<Begun>& of_flight = begun_[key];
  if (!of_flight || !flights_.is_flying(key)) of_flight = std::make_shared<Begun>();
  if (!begun) return of_flight;
  if (auto conversation = of_flight->conversation.lock()) begun(std::move(conversation));
  of_flight->told.push_back(std::move(begun));
  return of_flight;
}

// A tile that was answered stale is made anew behind the answer; one run, however many were answered.
void CachedRuns::refresh(const RunRequest& request, const Plan& plan) {
  if (flights_.is_flying(plan.key.digest)) return;
  RunRequest again = request;
  again.run_id = again.folder_id = new_uuid();
  again.actor.run_id.clear();
  again.nested = false;
  again.on_timeout = OnTimeout::error;
  std::vector<std::string> why{"expired"};
  asio::co_spawn(
      io_,
      [this, again = std::move(again), plan, why = std::move(why)]() mutable -> asio::awaitable<void> {
        auto ticket = std::make_shared<RunTicket>();
        (void)co_await miss(std::move(again), plan, std::move(why), std::move(ticket), RunBegun());
      },
      asio::detached);
}

asio::awaitable<CachedRuns::Outcome> CachedRuns::execute(RunRequest request, const Plan* plan,
                                                         std::shared_ptr<RunTicket> ticket, RunBegun begun) {
  const std::uint64_t generation = plan ? cache_.generation(plan->key.group) : 0;
  const std::uint64_t tile_generation = plan ? cache_.generation(plan->key.tile_group) : 0;
  const std::string run_id = request.run_id;
  const std::string parent = request.actor.kind == ActorKind::run ? request.actor.run_id : std::string();
  if (!parent.empty()) flights_.waits().begin(parent, run_id);
  uses_[run_id];
  const RunRequest kept = request;
  Plan copy = plan ? *plan : Plan{};
  auto outcome = co_await runs_.execute(std::move(request), std::move(ticket), std::move(begun));
  if (!parent.empty()) flights_.waits().end(parent, run_id);
  auto noted = uses_.extract(run_id);
  RunUses uses = noted ? std::move(noted.mapped()) : RunUses{};
  if (!outcome) co_return outcome;
  if (outcome->uses) {
    uses.add(*outcome->uses);
    if (uses.not_stored.empty()) uses.not_stored = outcome->uses->not_stored;
  }
  outcome->uses = std::make_shared<const RunUses>(uses);
  if (copy.on && tile_generation == cache_.generation(copy.key.tile_group))
    outcome->not_stored = co_await store(kept, copy, *outcome, uses, generation);
  note_for_parent(kept, uses);
  co_return outcome;
}

asio::awaitable<std::string> CachedRuns::store(const RunRequest& request, const Plan& plan, const RunOutcome& outcome,
                                               const RunUses& uses, std::uint64_t generation) {
  const bool failed = !outcome.ok();
  if (failed && (plan.error_seconds == 0 || !is_failure_of_code(outcome))) co_return std::string();
  if (!failed && outcome.status >= 400) co_return "its status is " + std::to_string(outcome.status);
  if (says_no_store(outcome)) co_return "it says no-store";
  // Where the text names `context`, who asks is in the key; what else is particular to this run is not.
  const bool of_caller = uses.not_stored == kSawCaller && plan.sees_caller;
  if (!uses.not_stored.empty() && !of_caller) co_return uses.not_stored;
  if (std::string why = co_await changed(uses.functions, uses.files); !why.empty())
    co_return why + " changed while it ran";
  if (generation != cache_.generation(plan.key.group)) co_return "it was forgotten while it ran";
  auto entry = std::make_shared<CacheEntry>();
  entry->key = plan.key;
  entry->created_ms = cache_.now_ms();
  entry->expires_ms =
      entry->created_ms + (failed ? std::min(plan.error_seconds, plan.max_age_seconds) : plan.max_age_seconds) * 1000;
  entry->cost_seconds = outcome.execution_seconds;
  entry->organisation = request.function->organisation;
  entry->owner_email = request.function->owner_email;
  entry->run_id = request.folder_id;
  entry->revision = request.function->revision;
  entry->status = outcome.status;
  entry->content_type = outcome.content_type;
  entry->format = outcome.format;
  entry->headers = outcome.headers;
  entry->metadata = outcome.metadata;
  entry->note = outcome.note;
  entry->functions = uses.functions;
  entry->files = uses.files;
  entry->body = failed ? Bytes::of(failure_text(outcome)) : outcome.body;
  if (failed) entry->content_type = kFailureType;
  entry->etag = etag_of_check(check_of(entry->body.view));
  cache_.put(std::move(entry));
  co_return std::string();
}

void CachedRuns::note_for_parent(const RunRequest& request, const RunUses& uses) {
  if (request.actor.kind != ActorKind::run) return;
  const auto parent = uses_.find(request.actor.run_id);
  if (parent == uses_.end()) return;
  parent->second.add(uses);
  if (!request.function->id.empty()) parent->second.add(FunctionUse{request.function->id, request.function->revision});
}

NestedHandler CachedRuns::noting(NestedHandler inner) {
  return [this, inner = std::move(inner)](NestedRequest request) -> asio::awaitable<NestedReply> {
    const std::string run_id = request.actor.run_id, method = request.method, target = request.target;
    NestedReply reply = co_await inner(std::move(request));
    if (const auto found = uses_.find(run_id); found != uses_.end())
      if (auto use = use_of_reply(method, target, reply)) found->second.add(*std::move(use));
    co_return reply;
  };
}

void CachedRuns::forget(std::string_view organisation, std::string_view owner_id, std::string_view function,
                        const std::optional<TileId>& tile) {
  const std::uint32_t group = function_group(organisation, owner_id, function);
  cache_.forget_group(tile ? tile_group(group, tile_text(*tile)) : group);
}

}  // namespace fused
