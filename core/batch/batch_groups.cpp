// Of Batch: its groups, from a worker that is free to the records of their calls.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "batch/batch.hpp"
#include "run/outcome.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr auto kTakeBackAfter = std::chrono::milliseconds(50);
constexpr int kDeathsBeforeAnyMax = 3;
constexpr int kRefusalsMax = 200;  // with the pauses between them, half a minute
constexpr double kCallSecondsLeast = 1e-6;

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string error_record(std::string_view out, std::string_view err, const json::object& told) {
  const std::string body = json::serialize(told);
  return CallRecord{'e', out, err, body}.bytes();
}

std::string text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::string_view class_of(std::string_view outcome) {
  return outcome == "timeout" ? "TimeoutError" : outcome == "out_of_memory" ? "MemoryError" : "RuntimeError";
}

json::object told(const RunReply& reply, std::string_view last_lines = {}) {
  const std::string_view outcome = outcome_of(reply.end);
  return {{"class", class_of(outcome)},
          {"message", reply.message},
          {"traceback", last_lines},
          {"line", nullptr},
          {"error_type", outcome_row(outcome).error_type},
          {"outcome", outcome}};
}

}  // namespace

void Batch::pump() {
  if (on_work) on_work();
  const int most = std::min(wish_.max_workers, host_.workers);
  const auto given = std::ranges::count_if(groups_, [](const auto& group) { return group->was_given(); });
  // No more that wait for a worker than there are calls to give.
  while (lanes_ < most && lanes_ - given < static_cast<std::ptrdiff_t>(counts_.waiting) && !is_paused() &&
         stopped_.empty() && !cancelled_) {
    ++lanes_;
    asio::co_spawn(
        host_.io, [self = shared_from_this()]() -> asio::awaitable<void> { co_await self->lane(); }, asio::detached);
  }
}

// Gives groups to the pool, one after the other, while calls wait.
asio::awaitable<void> Batch::lane() {
  const auto self = shared_from_this();
  while (counts_.waiting > 0 && !is_paused() && stopped_.empty() && !cancelled_) {
    auto opened = Group::open([this] { return fill(); }, request_.limits.result_bytes);
    Result<RunReply> reply;
    if (opened) {
      const auto group = *opened;
      groups_.push_back(group);
      RunRequest request = request_;
      reply = co_await host_.runs.execute_group(std::move(request), group->ticket, group);
      settle(*group, reply);
      groups_.remove(group);
      if (counts_.waiting == 0)
        for (const auto& other : groups_)
          if (!other->was_given()) other->ticket->cancel(RunEnd::cancelled, "nothing is left to run");
      wake();
    } else {
      reply = std::unexpected(opened.error());
    }
    if (reply) {
      refusals_ = 0;
      continue;
    }
    if (++refusals_ > kRefusalsMax || reply.error().kind == ErrorKind::unprocessable) {
      spdlog::warn("batch {}: its calls cannot be run: {}", id(), reply.error().message);
      const std::string record = error_record(
          "", "", {{"class", "RuntimeError"}, {"message", reply.error().message}, {"error_type", "runtime_error"}});
      counts_.waiting = 0;
      end_all(std::exchange(waiting_, {}), CallStatus::error, record);
      break;
    }
    asio::steady_timer pause(host_.io, std::chrono::milliseconds(20 + 10 * std::min(refusals_, 20)));
    co_await pause.async_wait(asio::use_awaitable);
  }
  --lanes_;
  wake();
}

void Batch::collect(Group& group) {
  if (!group.was_given()) return;
  const auto take = [this](const CallRange& call, const EndedHead& head, std::string_view record) {
    ended(call, head.status, head.started, head.seconds, record, head.status != CallStatus::timeout);
  };
  const Status sound = group.collect(take);
  if (!sound) {
    group.take_back();
    group.ticket->cancel(RunEnd::crashed,
                         sound.error().message + "; the function may have written to descriptors that are not its own");
  }
  last_end_ = std::chrono::steady_clock::now();
}

void Batch::lose(const CallRange& call, const Group& group, const RunReply& reply) {
  const Group::Cut left = group.cut_running();
  const double started = wall_seconds() - left.seconds;
  if (reply.end == RunEnd::cancelled) {
    const CallRecord record{'-', left.out, left.err, {}};
    return ended(call, CallStatus::cancelled, started, std::max(left.seconds, 1e-9), record.bytes(), true);
  }
  const CallStatus status = reply.end == RunEnd::timeout ? CallStatus::timeout : CallStatus::error;
  ended(call, status, started, left.seconds, error_record(left.out, left.err, told(reply, left.last_lines)), false);
}

// The function could not be made ready: that is how each of the calls has ended.
void Batch::settle_unready(Group& group, const RunReply& reply) {
  const json::object header =
      reply.header.at("error").is_object() ? reply.header.at("error").get_object() : json::object();
  json::object error;
  if (const auto* inner = header.if_contains("error"); inner && inner->is_object()) error = inner->get_object();
  const std::string outcome = text_of(header, "outcome");
  error["outcome"] = outcome;
  error["error_type"] = outcome_row(outcome).error_type;
  const Group::Cut left = group.cut_running();
  const std::string first = error_record(left.out, left.err, error), record = error_record("", "", error);
  bool is_first = true;
  for (const auto& part : group.returned())
    for (std::uint32_t i = 0; i < part.count; ++i)
      ended(part.part(i, 1), CallStatus::error, wall_seconds(), 0, std::exchange(is_first, false) ? first : record,
            true);
}

void Batch::settle(Group& group, const Result<RunReply>& reply) {
  if (!group.was_given()) return;  // it never had a worker
  collect(group);
  group.take_back();
  if (host_.cached && kept_) {
    RunUses uses;
    if (reply && reply->end == RunEnd::reported)
      uses = uses_of_result(reply->header);
    else if (group.ended() > 0)
      uses.not_stored = "a process of it ended before it said what its calls had used";
    host_.cached->note_batch(id(), uses);
  }
  if (reply) peak_memory_bytes_ = std::max(peak_memory_bytes_, reply->peak_memory_bytes);
  const bool reported = reply && reply->end == RunEnd::reported;
  if (group.ended() > 0) {
    deaths_before_any_ = 0;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - group.given_at();
    const double seconds = std::max(kCallSecondsLeast, took.count() / static_cast<double>(group.ended()));
    call_seconds_ = call_seconds_ == 0 ? seconds : (call_seconds_ + seconds) / 2;
  }
  if (reported && reply->header.if_contains("error") && reply->header.at("error").is_object())
    return settle_unready(group, *reply);
  if (group.has_unfinished()) {
    // Its worker has ended, and this is the call that it was in.
    const CallRange call = group.next();
    const bool was_asked =
        reply && reply->end == RunEnd::cancelled && (cancelled_ || cancelled_calls_.contains(call.index));
    cancelled_calls_.erase(call.index);
    RunReply how = reply ? *reply : RunReply{.end = RunEnd::crashed, .message = reply.error().message};
    if (reported) {
      how.end = RunEnd::no_result;
      how.message = "the worker said that its calls had ended, and there is no record of this one";
    }
    if (how.end != RunEnd::cancelled || was_asked) {
      lose(call, group, how);
    } else {
      return_calls({call});
    }
  } else if (!reported && reply && reply->end != RunEnd::cancelled && group.ended() == 0 && group.calls() == 0) {
    // It ended before the first call began: by what the function's text does when it is loaded.
    auto back = group.returned();
    if (back.empty()) return;
    const CallRange first = back.front().part(0, 1);
    if (++deaths_before_any_ >= kDeathsBeforeAnyMax) {
      return_calls(std::move(back));
      counts_.waiting = 0;
      return end_all(std::exchange(waiting_, {}), CallStatus::error, error_record("", "", told(*reply)));
    }
    return_calls(std::move(back));
    return;
  }
  return_calls(group.returned());
}

void Batch::tick() {
  const auto now = std::chrono::steady_clock::now();
  while (!later_.empty() && later_.begin()->first <= now) {
    waiting_.push_back(later_.begin()->second);
    counts_.waiting += later_.begin()->second.count;
    later_.erase(later_.begin());
  }
  const bool has_free_worker = lanes_ < std::min(wish_.max_workers, host_.workers);
  for (const auto& group : groups_) {
    if (!group->was_given()) continue;
    if (results_->is_behind()) {
      group->put_off();
      continue;
    }
    collect(*group);
    group->trim();
    // Calls that wait behind a long one are for workers that have nothing to do.
    if (counts_.waiting == 0 && has_free_worker && group->has_unfinished() &&
        now - group->running_since() > kTakeBackAfter) {
      group->take_back();
      return_calls(group->returned());
    }
  }
  pump();
  wake();
}

}  // namespace fused
