#include "batch/batch.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cmath>
#include <random>

namespace fused {
namespace asio = boost::asio;
namespace {

constexpr std::size_t kGroupCallsMax = 5'000;
constexpr std::size_t kGroupBytesMax = 4 << 20;
constexpr std::size_t kSendBytes = 512 << 10;
constexpr auto kSendAfter = std::chrono::milliseconds(50);
constexpr std::size_t kRunningShown = 64;

constexpr auto kBehindPause = std::chrono::milliseconds(5);
constexpr auto kSlice = std::chrono::milliseconds(2);
constexpr std::uint32_t kLook = 64;  // calls between two looks at the clock

// A part of much work on the loop, between which others have their turn.
class Slice {
 public:
  void begin() { end_ = std::chrono::steady_clock::now() + kSlice; }
  bool is_over() { return ++calls_ % kLook == 0 && std::chrono::steady_clock::now() >= end_; }

 private:
  SteadyTime end_ = std::chrono::steady_clock::now() + kSlice;
  std::uint32_t calls_ = 0;
};

// Bytes that a piece holds as long as it lives.
std::shared_ptr<const ArgumentPiece> counted(std::shared_ptr<const ArgumentPiece> piece,
                                             const std::shared_ptr<std::size_t>& held) {
  *held += piece->bytes();
  const ArgumentPiece* plain = piece.get();
  return {plain, [piece = std::move(piece), held](const ArgumentPiece*) mutable {
            *held -= piece->bytes();
            piece.reset();
          }};
}

}  // namespace

Batch::Batch(BatchHost& host, RunRequest request, BatchWish wish)
    : host_(host),
      request_(std::move(request)),
      wish_(wish),
      results_(std::make_shared<BatchResults>(host.io, host.disk, host.folder)),
      out_(request_.limits.stream_bytes) {}

bool Batch::belongs_to(const Actor& actor) const {
  return actor.user_id == request_.actor.user_id && actor.share_token_id == request_.actor.share_token_id;
}

std::int64_t Batch::room_bytes() const {
  return static_cast<std::int64_t>(kArgumentBytesMax) - static_cast<std::int64_t>(*held_bytes_);
}

Status Batch::check(const ArgumentPiece& piece) const {
  if (closed_) return fail(ErrorKind::conflict, "the batch is closed: no more calls come");
  if (cancelled_) return fail(ErrorKind::conflict, "the batch was cancelled");
  if (!trouble().empty()) return fail(ErrorKind::storage_full, trouble());
  if (piece.number() > next_piece_)
    return fail(ErrorKind::conflict,
                "piece " + std::to_string(piece.number()) + " came before piece " + std::to_string(next_piece_));
  if (*held_bytes_ > 0 && room_bytes() < static_cast<std::int64_t>(piece.bytes()))
    return fail(ErrorKind::too_many_requests, std::to_string(counts_.waiting) +
                                                  " calls of this batch are waiting already; take results, then send "
                                                  "more");
  for (const auto& range : piece.ranges()) {
    const auto known =
        states_.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(range.first, states_.size()));
    const auto end =
        states_.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(range.first + range.count, states_.size()));
    if (const auto open = std::find(known, end, State::open); open != end)
      return fail(ErrorKind::conflict,
                  "call " + std::to_string(open - states_.begin()) + " has come before and has not ended");
  }
  return {};
}

// Behind those that wait already.
void Batch::wait(const CallRange& calls) {
  counts_.waiting += calls.count;
  if (!waiting_.empty()) {
    CallRange& last = waiting_.back();
    if (last.piece == calls.piece && last.position + last.count == calls.position &&
        last.index + last.count == calls.index) {
      last.count += calls.count;
      return;
    }
  }
  waiting_.push_back(calls);
}

asio::awaitable<Status> Batch::take(std::shared_ptr<const ArgumentPiece> piece) {
  const auto self = shared_from_this();
  last_asked_ = std::chrono::steady_clock::now();
  if (piece->number() < next_piece_) co_return Status();  // sent again: its answer was lost
  if (auto refused = check(*piece); !refused) co_return refused;
  if (!results_->on_written)
    results_->on_written = [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      self->pump();
      self->wake();
    };
  ++next_piece_;
  const auto kept = counted(std::move(piece), held_bytes_);
  for (const auto& range : kept->ranges()) {
    if (states_.size() < range.first + range.count) states_.resize(range.first + range.count, State::unknown);
    std::fill_n(states_.begin() + range.first, range.count, State::open);
    counts_.taken += range.count;
  }
  Slice slice;
  std::uint32_t position = 0;
  for (const auto& range : kept->ranges()) {
    const CallRange calls{kept, position, range.first, range.count};
    std::uint32_t done = 0;
    for (; kept_calls_ && !cancelled_ && done < range.count; ++done) {
      if (!answer(calls.part(done, 1))) wait(calls.part(done, 1));
      if (!slice.is_over()) continue;
      pump();
      wake();
      co_await asio::post(host_.io, asio::use_awaitable);
      slice.begin();
    }
    if (done < range.count) wait(calls.part(done, range.count - done));
    position += range.count;
  }
  if (cancelled_) cancel_waiting(nullptr);  // meanwhile
  pump();
  wake();
  co_return Status();
}

void Batch::answer_from(std::optional<KeptBatch> kept) {
  kept_ = std::move(kept);
  if (kept_ && kept_->entry) kept_calls_ = KeptCalls::of(kept_->entry->body);
}

// Where a call with these arguments has given something before that is not too old, that is what it gives.
bool Batch::answer(const CallRange& call) {
  const ArgumentDigest digest = call.piece->digest(call.position);
  const auto found = kept_calls_->find(digest);
  if (!found || found->made_ms < kept_->oldest_ms || !CallRecord::of(found->record)) return false;
  results_->add({call.index, CallStatus::success, 0, static_cast<double>(found->made_ms) / 1e3, 0}, digest,
                found->record);
  states_[call.index] = State::ended;
  ++counts_.finished;
  ++counts_.by_status[static_cast<std::size_t>(CallStatus::success)];
  ++answered_;
  result_bytes_ += found->record.size();
  note(call.index, CallStatus::success, found->record);
  return true;
}

std::vector<std::pair<std::uint32_t, std::uint32_t>> Batch::running() const {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> found;
  for (const auto& group : groups_)
    for (const auto& part : group->unfinished())
      if (found.size() < kRunningShown) found.emplace_back(part.index, part.count);
  return found;
}

bool Batch::is_paused() const {
  return results_->is_behind() || !results_->trouble().empty() || results_->unacknowledged_bytes() > kUnaskedBytesMax;
}

asio::awaitable<Result<Batch::Answer>> Batch::results(std::uint64_t after, std::chrono::milliseconds patience) {
  const auto self = shared_from_this();
  const SteadyTime deadline = std::chrono::steady_clock::now() + patience;
  if (after > results_->chunks())
    co_return fail(ErrorKind::invalid_argument, "after=" + std::to_string(after) + ", but the batch has given " +
                                                    std::to_string(results_->chunks()) + " answers");
  results_->acknowledge(after);
  for (;;) {
    const SteadyTime now = last_asked_ = std::chrono::steady_clock::now();
    if (!stopped_.empty()) co_return fail(ErrorKind::unavailable, stopped_);
    const SteadyTime send_at = results_->has_unsealed() ? results_->first_unsealed() + kSendAfter : deadline;
    if (after == results_->chunks() && results_->has_unsealed() &&
        (is_done() || results_->unsealed_bytes() >= kSendBytes || now >= std::min(send_at, deadline)))
      results_->seal();
    if (after < results_->chunks()) {
      auto bytes = co_await results_->chunk(after);
      if (!bytes) co_return std::unexpected(bytes.error());
      pump();
      co_return Answer{*std::move(bytes), after + 1};
    }
    if (!trouble().empty()) co_return fail(ErrorKind::storage_full, trouble());
    if (is_done() || now >= deadline) co_return Answer{{}, after};
    asio::steady_timer timer(host_.io, std::min(send_at, deadline));
    const auto at = waiters_.insert(waiters_.end(), &timer);
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    waiters_.erase(at);
  }
}

// Whoever waits for results looks again, where there may be some.
void Batch::wake() {
  if (!is_done() && !results_->has_unsealed() && results_->chunks() == woken_chunks_ && stopped_.empty() &&
      trouble().empty())
    return;
  woken_chunks_ = results_->chunks();
  for (auto* waiter : waiters_) waiter->cancel();
}

// The next calls for a worker: as many as lately took 50 ms, a fair share of what waits, of one shape.
std::vector<CallRange> Batch::fill() {
  std::vector<CallRange> found;
  const auto lanes = static_cast<std::size_t>(std::min(wish_.max_workers, host_.workers));
  std::size_t most = 1;
  if (call_seconds_ > 0) most = static_cast<std::size_t>(kGroupSeconds / call_seconds_);
  most = std::clamp<std::size_t>(std::min(most, counts_.waiting / (2 * lanes)), 1, kGroupCallsMax);
  std::size_t bytes = 0;
  while (most > 0 && !waiting_.empty()) {
    CallRange& next = waiting_.front();
    if (!found.empty() && next.piece->shape() != found.front().piece->shape()) break;
    std::uint32_t take = 0;
    for (; take < next.count && take < most; ++take) {
      bytes += next.piece->bytes_of(next.position + take);
      if (bytes > kGroupBytesMax && (take > 0 || !found.empty())) break;
    }
    if (take == 0) break;
    found.push_back(next.part(0, take));
    next = next.part(take, next.count - take);
    if (next.count == 0) waiting_.pop_front();
    counts_.waiting -= take;
    most -= take;
    if (bytes > kGroupBytesMax) break;
  }
  return found;
}

void Batch::return_calls(std::vector<CallRange> segments) {
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    counts_.waiting += segment->count;
    waiting_.push_front(*segment);
  }
  if (cancelled_) return cancel_waiting(nullptr);
  if (cancelled_calls_.empty()) return;
  std::vector<std::uint32_t> asked(cancelled_calls_.begin(), cancelled_calls_.end());
  std::ranges::sort(asked);
  cancel_waiting(&asked);
}

void Batch::ended(const CallRange& call, CallStatus status, double started, double seconds, std::string_view record,
                  bool is_blamed) {
  const std::uint32_t index = call.index;
  const bool failed = status == CallStatus::error || status == CallStatus::timeout;
  std::uint16_t tries = 0;
  if (!tries_.empty())
    if (const auto found = tries_.find(index); found != tries_.end()) tries = found->second;
  if (failed && tries < wish_.max_retry && (wish_.retries_failures || !is_blamed) && !cancelled_ && stopped_.empty()) {
    tries_[index] = static_cast<std::uint16_t>(tries + 1);
    static thread_local std::mt19937 random{std::random_device{}()};
    const double most = std::min(10.0, 0.1 * std::exp2(std::min<int>(tries, 10)));
    const double pause = std::uniform_real_distribution<double>(0, most)(random);
    later_.emplace(std::chrono::steady_clock::now() +
                       std::chrono::duration_cast<SteadyTime::duration>(std::chrono::duration<double>(pause)),
                   call);
    return;
  }
  if (tries > 0) tries_.erase(index);
  if (!cancelled_calls_.empty()) cancelled_calls_.erase(index);
  const auto attempts = static_cast<std::uint16_t>(status == CallStatus::cancelled && seconds == 0 ? tries : tries + 1);
  results_->add({index, status, attempts, started, seconds}, call.piece->digest(call.position), record);
  states_[index] = State::ended;
  ++counts_.finished;
  ++counts_.by_status[static_cast<std::size_t>(status)];
  result_bytes_ += record.size();
  note(index, status, record);
}

// For the batch's own log.
void Batch::note(std::uint32_t index, CallStatus status, std::string_view record) {
  const auto parsed = CallRecord::of(record);
  if (!parsed) return;
  if (!parsed->out.empty() || !parsed->err.empty()) {
    out_.feed("[call " + std::to_string(index) + "]\n");
    for (const std::string_view text : {parsed->out, parsed->err}) {
      out_.feed(text);
      if (!text.empty() && text.back() != '\n') out_.feed("\n");
    }
  }
  if (status != CallStatus::error && status != CallStatus::timeout) return;
  if (first_errors_.size() < kFirstErrorsKept)
    first_errors_.push_back("call " + std::to_string(index) + ": " + std::string(parsed->body.substr(0, 4'000)));
}

void Batch::cancel_waiting(const std::vector<std::uint32_t>* only) {
  std::deque<CallRange> cancelled;
  const auto add = [](std::deque<CallRange>& to, const CallRange& part) {
    if (!to.empty() && to.back().piece == part.piece && to.back().position + to.back().count == part.position &&
        to.back().index + to.back().count == part.index)
      to.back().count += part.count;
    else if (part.count > 0)
      to.push_back(part);
  };
  // What is left of a segment goes to `kept`.
  const auto split = [&](const CallRange& segment, std::deque<CallRange>& kept) {
    std::uint32_t done = 0;
    for (auto at = std::ranges::lower_bound(*only, segment.index);
         at != only->end() && *at < segment.index + segment.count; ++at) {
      const std::uint32_t place = *at - segment.index;
      add(kept, segment.part(done, place - done));
      add(cancelled, segment.part(place, 1));
      done = place + 1;
    }
    add(kept, segment.part(done, segment.count - done));
  };
  if (!only) {
    cancelled = std::exchange(waiting_, {});
    for (auto& [when, call] : std::exchange(later_, {})) add(cancelled, call);
    counts_.waiting = 0;
    return end_all(std::move(cancelled), CallStatus::cancelled, CallRecord{}.bytes());
  }
  std::deque<CallRange> kept;
  for (const auto& segment : std::exchange(waiting_, {})) split(segment, kept);
  waiting_ = std::move(kept);
  counts_.waiting = 0;
  for (const auto& segment : waiting_) counts_.waiting += segment.count;
  std::erase_if(later_, [&](const auto& waits) {
    const bool is_asked = std::ranges::binary_search(*only, waits.second.index);
    if (is_asked) add(cancelled, waits.second);
    return is_asked;
  });
  end_all(std::move(cancelled), CallStatus::cancelled, CallRecord{}.bytes());
}

void Batch::end_all(std::deque<CallRange> calls, CallStatus status, std::string record) {
  if (calls.empty()) return;
  const bool is_first = ending_.empty();
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  ending_.push_back({std::move(calls), status, status == CallStatus::cancelled ? 0 : now, std::move(record)});
  if (!is_first) return;  // end_rest is at work
  end_slice();
  if (!ending_.empty()) asio::co_spawn(host_.io, end_rest(), asio::detached);
}

void Batch::end_slice() {
  Slice slice;
  while (!ending_.empty() && !results_->is_behind()) {
    Ending& of = ending_.front();
    CallRange& next = of.calls.front();
    ended(next.part(0, 1), of.status, of.started, 0, of.record, true);
    next = next.part(1, next.count - 1);
    if (next.count == 0) of.calls.pop_front();
    if (of.calls.empty()) ending_.pop_front();
    if (slice.is_over()) return;
  }
}

asio::awaitable<void> Batch::end_rest() {
  const auto self = shared_from_this();
  while (!ending_.empty()) {
    // Also where the disk is behind: then a moment later.
    asio::steady_timer pause(host_.io, results_->is_behind() ? kBehindPause : std::chrono::milliseconds(0));
    co_await pause.async_wait(asio::use_awaitable);
    end_slice();
    wake();
  }
  pump();
  wake();
}

void Batch::cancel() {
  cancelled_ = true;
  for (const auto& group : groups_) {
    group->take_back();
    collect(*group);
    // Its next call cannot begin any more: what is ended here is the one that runs, or one that waits for a worker.
    if (!group->was_given() || group->has_unfinished())
      group->ticket->cancel(RunEnd::cancelled, "the batch was cancelled");
  }
  cancel_waiting(nullptr);
  wake();
}

void Batch::cancel(std::vector<std::uint32_t> calls) {
  std::ranges::sort(calls);
  const auto doubled = std::ranges::unique(calls);
  calls.erase(doubled.begin(), doubled.end());
  std::erase_if(calls, [&](auto index) { return index >= states_.size() || states_[index] != State::open; });
  if (calls.empty()) return;
  for (const auto& group : groups_) {
    const auto parts = group->unfinished();
    const bool has_one = std::ranges::any_of(parts, [&](const CallRange& part) {
      const auto first = std::ranges::lower_bound(calls, part.index);
      return first != calls.end() && *first < part.index + part.count;
    });
    if (!has_one) continue;
    group->take_back();
    collect(*group);
    if (!group->has_unfinished() || !std::ranges::binary_search(calls, group->next().index)) continue;
    cancelled_calls_.insert(group->next().index);
    group->ticket->cancel(RunEnd::cancelled, "the call was cancelled");
  }
  cancel_waiting(&calls);
  pump();
  wake();
}

void Batch::stop(std::string why) {
  stopped_ = std::move(why);
  cancel();
}

}  // namespace fused
