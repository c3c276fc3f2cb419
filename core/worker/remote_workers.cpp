#include "worker/remote_workers.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "base/ids.hpp"
#include "base/text.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr auto kTick = std::chrono::seconds(1);
constexpr std::size_t kTakenAtOnce = 256;
constexpr int kStartsMax = 100;  // of one attempt: one that ends every node must not go on for ever
constexpr std::size_t kNoteBytesMax = 200;
constexpr std::size_t kMessageBytesMax = 4'000;
constexpr std::array<std::pair<std::string_view, RunEnd>, 7> kEnds{{{"reported", RunEnd::reported},
                                                                    {"timeout", RunEnd::timeout},
                                                                    {"out_of_memory", RunEnd::out_of_memory},
                                                                    {"limit_exceeded", RunEnd::limit_exceeded},
                                                                    {"crashed", RunEnd::crashed},
                                                                    {"no_result", RunEnd::no_result},
                                                                    {"cancelled", RunEnd::cancelled}}};

std::string text(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::int64_t number(const json::object& object, std::string_view name, std::int64_t fallback) {
  const auto* value = object.if_contains(name);
  return value && value->is_int64() ? value->get_int64() : fallback;
}

std::unexpected<Error> late(const std::string& why) { return fail(ErrorKind::conflict, "late: " + why); }

}  // namespace

struct RemoteWorkers::Attempt {
  std::string id;
  std::string order;  // of the run frame
  RunLimits limits;
  bool is_promoted = false;  // see RunOrder
  OwnLimits own;
  RunTicket* ticket = nullptr;
  RunWatcher* watcher = nullptr;
  Completion<RunReply> done;
  bool over = false;
  bool taken = false;
  bool cancelled = false;
  std::int64_t start = 0;  // number of the one that counts
  bool begun = false;      // by the driver that has it now
  SteadyTime heard{};      // of the node
  std::string node;
  Usage usage;
  std::array<std::int64_t, 2> pieces{};  // of stdout and stderr that were taken from this start
  std::vector<std::shared_ptr<Completion<Result<Answer>>>> calls;
};

RemoteWorkers::RemoteWorkers(asio::io_context& io, RemoteWorkersOptions options)
    : io_(io), options_(std::move(options)), tick_(io) {}

RemoteWorkers::~RemoteWorkers() = default;

asio::awaitable<Result<RunReply>> RemoteWorkers::run(const RunOrder& order, RunTicket& ticket, RunWatcher& watcher) {
  if (stopped_) co_return fail(ErrorKind::unavailable, "the server is stopping");
  if (ticket.is_cancelled()) co_return RunReply{.end = RunEnd::cancelled, .message = "it was ended before it began"};
  const auto attempt = std::make_shared<Attempt>();
  attempt->id = new_token("");
  attempt->order = "{\"udf\":" + order.udf_full() + ',' + order.rest + '}';
  attempt->limits = *order.beside;
  attempt->is_promoted = order.is_promoted;
  attempt->own = {attempt->limits, {}};
  attempt->ticket = &ticket;
  attempt->watcher = &watcher;
  attempts_.emplace(attempt->id, attempt);
  by_ticket_.emplace(&ticket, attempt);
  waiting_.push_back(attempt->id);
  ticket.on_cancel = [this, weak = std::weak_ptr<Attempt>(attempt)] {
    if (const auto found = weak.lock()) cancel(*found);
  };
  wake();
  if (!std::exchange(looking_, true)) asio::co_spawn(io_, look_after(), asio::detached);
  RunReply reply = co_await attempt->done.wait();
  ticket.on_cancel = nullptr;
  co_return reply;
}

void RemoteWorkers::cancel(Attempt& attempt) {
  if (attempt.over) return;
  attempt.cancelled = true;
  if (!attempt.taken) return finish(attempt, {.end = RunEnd::cancelled, .message = "it was ended before it began"});
  to_end_.insert(attempt.id);
  wake();
}

void RemoteWorkers::finish(Attempt& attempt, RunReply reply) {
  if (std::exchange(attempt.over, true)) return;
  reply.limits = attempt.own.limits;
  reply.limits_note = attempt.own.note;
  for (const auto& call : std::exchange(attempt.calls, {})) call->set(late("the run is over"));
  std::erase(waiting_, attempt.id);
  to_end_.erase(attempt.id);
  by_ticket_.erase(attempt.ticket);
  const auto found = attempts_.find(attempt.id);
  const SharedAttempt keep = found->second;
  attempts_.erase(found);
  keep->done.set(std::move(reply));
}

RemoteWorkers::SharedAttempt RemoteWorkers::of(const RunTicket& ticket) const {
  const auto found = by_ticket_.find(&ticket);
  return found == by_ticket_.end() ? nullptr : found->second;
}

bool RemoteWorkers::is_alive(const RunTicket& ticket) const {
  const SharedAttempt attempt = of(ticket);
  if (!attempt) return false;
  if (!attempt->taken) return true;
  const SteadyTime heard = attempt->begun ? attempt->heard : driver_heard_;
  return std::chrono::steady_clock::now() - heard < options_.lease;
}

RemoteWorkers::Usage RemoteWorkers::usage(const RunTicket& ticket) const {
  const SharedAttempt attempt = of(ticket);
  return attempt ? attempt->usage : Usage{};
}

// Only those that were told to end: for the others the scheduler sees that they are not alive, and cancels them.
asio::awaitable<void> RemoteWorkers::look_after() {
  while (!stopped_ && !attempts_.empty()) {
    tick_.expires_after(kTick);
    boost::system::error_code ignored;
    co_await tick_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if (stopped_) co_return;
    const auto now = std::chrono::steady_clock::now();
    std::vector<SharedAttempt> silent;
    for (const auto& [id, attempt] : attempts_) {
      const SteadyTime heard = attempt->begun ? attempt->heard : driver_heard_;
      if (attempt->cancelled && now - heard >= options_.lease) silent.push_back(attempt);
    }
    for (const SharedAttempt& attempt : silent)
      finish(*attempt, {.end = RunEnd::cancelled, .message = "it was to end, and its node was not heard any more"});
  }
  looking_ = false;
}

// ---- the driver

void RemoteWorkers::wake() {
  for (auto* taker : takers_) taker->cancel();
}

// What the driver before had taken is given to this one; a process of it that still runs is late from now on.
void RemoteWorkers::follow(const std::string& driver) {
  if (!driver_.empty()) {
    former_drivers_.insert(driver_);
    spdlog::warn("another driver of the Ray cluster has begun; it takes over what the one before had");
  }
  driver_ = driver;
  for (const auto& [id, attempt] : attempts_) {
    if (!attempt->taken) continue;
    attempt->taken = attempt->begun = false;
    ++attempt->start;
    if (!attempt->cancelled) waiting_.push_back(id);
  }
  std::vector<SharedAttempt> ended;
  for (const auto& [id, attempt] : attempts_)
    if (attempt->cancelled) ended.push_back(attempt);
  for (const auto& attempt : ended)
    finish(*attempt, {.end = RunEnd::cancelled, .message = "it was ended with the driver that had begun it"});
}

// An answer may be lost: what the driver was given and does not hold is given again, or is over where it was to end;
// what it holds and was to end it is told to end again.
void RemoteWorkers::put_right(const std::unordered_set<std::string>& held) {
  std::vector<SharedAttempt> ended;
  for (const auto& [id, attempt] : attempts_) {
    if (!attempt->taken || attempt->begun) continue;
    if (!attempt->cancelled) {
      if (held.contains(id)) continue;
      attempt->taken = false;
      waiting_.push_back(id);
    } else if (held.contains(id)) {
      to_end_.insert(id);
    } else {
      ended.push_back(attempt);
    }
  }
  for (const auto& attempt : ended)
    finish(*attempt, {.end = RunEnd::cancelled, .message = "it was ended before the cluster had it"});
}

asio::awaitable<Result<std::string>> RemoteWorkers::take(std::string driver, std::unordered_set<std::string> held,
                                                         std::chrono::milliseconds patience) {
  const auto replaced = [&] { return former_drivers_.contains(driver); };
  if (replaced()) co_return late("another driver has taken this one's place");
  if (driver != driver_) follow(driver);
  put_right(held);
  driver_heard_ = std::chrono::steady_clock::now();
  if (waiting_.empty() && to_end_.empty() && !stopped_) {
    asio::steady_timer timer(io_, patience);
    takers_.push_back(&timer);
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    std::erase(takers_, &timer);
    if (replaced()) co_return late("another driver has taken this one's place");
    driver_heard_ = std::chrono::steady_clock::now();
  }
  std::string out = "{\"attempts\":[";
  std::size_t given = 0;
  while (!waiting_.empty() && given < kTakenAtOnce && !stopped_) {
    const std::string id = waiting_.front();
    waiting_.pop_front();
    const SharedAttempt attempt = attempts_.at(id);
    attempt->taken = true;
    out += given++ ? ",{\"attempt\":\"" : "{\"attempt\":\"";
    out += id + "\",\"cores\":1,\"memory_bytes\":" + std::to_string(attempt->limits.memory_bytes);
    out += ",\"limits\":" + json::serialize(limits_json(attempt->limits)) + ",\"order\":" + attempt->order + '}';
  }
  json::object rest;
  rest["end"] = json::array(to_end_.begin(), to_end_.end());
  to_end_.clear();
  rest["lease_ms"] = options_.lease.count();
  rest["sandbox"] = options_.sandbox;
  rest["mount"] = options_.mount;
  rest["environment"] = json::array(options_.environment.begin(), options_.environment.end());
  co_return out + "]," + json::serialize(rest).substr(1);
}

Status RemoteWorkers::give_up(const std::string& id, const std::string& driver, const std::string& why) {
  if (driver != driver_) return late("another driver has taken this one's place");
  const auto found = attempts_.find(id);
  if (found == attempts_.end() || !found->second->taken) return late("the attempt is over");
  Attempt& attempt = *found->second;
  finish(attempt, {.end = attempt.cancelled ? RunEnd::cancelled : RunEnd::crashed,
                   .message = "the cluster did not run it: " + printable(why.substr(0, kMessageBytesMax))});
  return {};
}

// ---- the nodes

Result<RemoteWorkers::SharedAttempt> RemoteWorkers::find(const std::string& id, std::int64_t start) {
  const auto found = attempts_.find(id);
  if (found == attempts_.end() || found->second->start != start || !found->second->begun) {
    ++counts_.late;
    return late(found == attempts_.end() ? "the attempt is over" : "the attempt was begun again elsewhere");
  }
  found->second->heard = std::chrono::steady_clock::now();
  return found->second;
}

Result<std::int64_t> RemoteWorkers::begin(const std::string& id, const std::string& node) {
  const auto found = attempts_.find(id);
  if (found == attempts_.end() || !found->second->taken || found->second->cancelled) {
    ++counts_.late;
    return late("the attempt is over");
  }
  const SharedAttempt attempt = found->second;
  const std::string name = printable(node.substr(0, kNoteBytesMax));
  if (attempt->start >= kStartsMax) {
    finish(*attempt, {.end = RunEnd::crashed,
                      .message = "it was begun " + std::to_string(kStartsMax) + " times and never came to an end"});
    return late("the attempt was begun too often");
  }
  for (const auto& call : std::exchange(attempt->calls, {})) call->set(late("the attempt was begun again elsewhere"));
  ++attempt->start;
  ++(attempt->node.empty() ? counts_.begun : counts_.begun_again);
  if (on_note)
    on_note(*attempt->ticket, attempt->node.empty()
                                  ? "runs on node " + name
                                  : "is begun again, on node " + name + "; before it ran on node " + attempt->node);
  attempt->node = name;
  attempt->begun = true;
  attempt->heard = std::chrono::steady_clock::now();
  attempt->usage = {};
  attempt->pieces = {};
  return attempt->start;
}

Result<bool> RemoteWorkers::beat(const std::string& id, std::int64_t start, Usage usage) {
  const SharedAttempt attempt = FUSED_TRY(find(id, start));
  attempt->usage = usage;
  return attempt->cancelled;
}

Status RemoteWorkers::output(const std::string& id, std::int64_t start, int stream, std::int64_t piece,
                             std::string_view bytes) {
  const SharedAttempt attempt = FUSED_TRY(find(id, start));
  std::int64_t& taken = attempt->pieces.at(stream == 1 ? 0 : 1);
  if (piece != 0 && piece <= taken) return {};  // its answer was lost, and it is sent again
  taken = std::max(taken, piece);
  attempt->watcher->output(stream, bytes);
  return {};
}

Result<RunLimits> RemoteWorkers::limits(const std::string& id, std::int64_t start, const json::object& asked) {
  const SharedAttempt attempt = FUSED_TRY(find(id, start));
  attempt->own = own_limits(attempt->limits, asked, attempt->is_promoted);
  attempt->watcher->limited(attempt->own.limits);
  return attempt->own.limits;
}

asio::awaitable<Result<RemoteWorkers::Answer>> RemoteWorkers::call(std::string id, std::int64_t start,
                                                                   NestedCall call) {
  auto found = find(id, start);
  if (!found) co_return std::unexpected(found.error());
  const SharedAttempt attempt = *found;
  const auto answered = std::make_shared<Completion<Result<Answer>>>();
  attempt->calls.push_back(answered);
  attempt->watcher->call(std::move(call), [answered](std::string header, std::string_view body) {
    answered->set(Answer{std::move(header), Bytes::of(std::string(body))});
  });
  Result<Answer> answer = co_await answered->wait();
  std::erase(attempt->calls, answered);
  co_return answer;
}

Status RemoteWorkers::end(const std::string& id, std::int64_t start, const json::object& header, Bytes body) {
  const SharedAttempt attempt = FUSED_TRY(find(id, start));
  const std::string how = text(header, "end");
  const auto* row = std::ranges::find(kEnds, how, &std::pair<std::string_view, RunEnd>::first);
  if (row == kEnds.end())
    return fail(ErrorKind::invalid_argument, "'end' is '" + printable(how.substr(0, 40)) +
                                                 "'; it is reported, timeout, out_of_memory, limit_exceeded, crashed, "
                                                 "no_result or cancelled");
  RunReply reply;
  reply.end = row->second;
  if (const auto* told = header.if_contains("header"); told && told->is_object()) reply.header = told->get_object();
  reply.body = std::move(body);
  reply.message = text(header, "message").substr(0, kMessageBytesMax);
  reply.last_lines = text(header, "last_lines");
  reply.signal = static_cast<int>(number(header, "signal", 0));
  reply.exit_code = static_cast<int>(number(header, "exit_code", -1));
  reply.peak_memory_bytes = number(header, "peak_memory_bytes", 0);
  finish(*attempt, std::move(reply));
  return {};
}

RemoteFigures RemoteWorkers::figures() const {
  RemoteFigures figures = counts_;
  figures.attempts = attempts_.size();
  figures.waiting = waiting_.size();
  return figures;
}

void RemoteWorkers::stop() {
  stopped_ = true;
  tick_.cancel();
  wake();
  std::vector<SharedAttempt> left;
  for (const auto& [id, attempt] : attempts_) left.push_back(attempt);
  for (const auto& attempt : left) finish(*attempt, {.end = RunEnd::cancelled, .message = "the server is stopping"});
}

}  // namespace fused
