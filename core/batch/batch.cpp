#include "batch/batch.hpp"

#include <algorithm>
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

Status Batch::take(std::shared_ptr<const ArgumentPiece> piece) {
  last_asked_ = std::chrono::steady_clock::now();
  if (piece->number() < next_piece_) return {};  // sent again: its answer was lost
  if (closed_) return fail(ErrorKind::conflict, "the batch is closed: no more calls come");
  if (cancelled_) return fail(ErrorKind::conflict, "the batch was cancelled");
  if (!trouble().empty()) return fail(ErrorKind::storage_full, trouble());
  if (piece->number() > next_piece_)
    return fail(ErrorKind::conflict,
                "piece " + std::to_string(piece->number()) + " came before piece " + std::to_string(next_piece_));
  if (*held_bytes_ > 0 && room_bytes() < static_cast<std::int64_t>(piece->bytes()))
    return fail(ErrorKind::too_many_requests, std::to_string(counts_.waiting) +
                                                  " calls of this batch are waiting already; take results, then send "
                                                  "more");
  for (const auto& range : piece->ranges()) {
    if (states_.size() < range.first + range.count) states_.resize(range.first + range.count, State::unknown);
    for (std::uint32_t i = range.first; i < range.first + range.count; ++i)
      if (states_[i] == State::open)
        return fail(ErrorKind::conflict, "call " + std::to_string(i) + " has come before and has not ended");
  }
  if (!results_->on_written)
    results_->on_written = [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      self->pump();
      self->wake();
    };
  ++next_piece_;
  const auto kept = counted(std::move(piece), held_bytes_);
  std::uint32_t position = 0;
  for (const auto& range : kept->ranges()) {
    std::fill_n(states_.begin() + range.first, range.count, State::open);
    counts_.taken += range.count;
    if (!kept_calls_) {
      waiting_.push_back({kept, position, range.first, range.count});
      counts_.waiting += range.count;
    }
    for (std::uint32_t i = 0; kept_calls_ && i < range.count; ++i) {
      const CallRange call{kept, position + i, range.first + i, 1};
      if (answer(call)) continue;
      ++counts_.waiting;
      if (!waiting_.empty() && waiting_.back().piece == kept &&
          waiting_.back().position + waiting_.back().count == call.position &&
          waiting_.back().index + waiting_.back().count == call.index)
        ++waiting_.back().count;
      else
        waiting_.push_back(call);
    }
    position += range.count;
  }
  pump();
  wake();
  return {};
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
  if (cancelled_)
    cancel_waiting(nullptr);
  else if (!cancelled_calls_.empty())
    cancel_waiting(&cancelled_calls_);
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

void Batch::cancel_waiting(const std::unordered_set<std::uint32_t>* only) {
  static const std::string empty = CallRecord{}.bytes();
  std::deque<CallRange> kept;
  const auto drop = [&](const CallRange& segment) {
    for (std::uint32_t i = 0; i < segment.count; ++i)
      if (!only || only->contains(segment.index + i)) {
        ended(segment.part(i, 1), CallStatus::cancelled, 0, 0, empty, true);
      } else if (!kept.empty() && kept.back().piece == segment.piece &&
                 kept.back().position + kept.back().count == segment.position + i) {
        ++kept.back().count;
      } else {
        kept.push_back(segment.part(i, 1));
      }
  };
  for (const auto& segment : std::exchange(waiting_, {})) drop(segment);
  counts_.waiting = 0;
  for (const auto& segment : kept) counts_.waiting += segment.count;
  waiting_ = std::exchange(kept, {});
  for (auto& [when, segment] : std::exchange(later_, {})) {
    drop(segment);
    if (!kept.empty()) later_.emplace(when, kept.front());
    kept.clear();
  }
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

void Batch::cancel(const std::vector<std::uint32_t>& calls) {
  std::unordered_set<std::uint32_t> asked;
  for (const auto index : calls)
    if (index < states_.size() && states_[index] == State::open) asked.insert(index);
  if (asked.empty()) return;
  std::vector<std::uint32_t> sorted(asked.begin(), asked.end());
  std::ranges::sort(sorted);
  for (const auto& group : groups_) {
    const auto parts = group->unfinished();
    const bool has_one = std::ranges::any_of(parts, [&](const CallRange& part) {
      const auto first = std::ranges::lower_bound(sorted, part.index);
      return first != sorted.end() && *first < part.index + part.count;
    });
    if (!has_one) continue;
    group->take_back();
    collect(*group);
    if (!group->has_unfinished() || !asked.contains(group->next().index)) continue;
    cancelled_calls_.insert(group->next().index);
    group->ticket->cancel(RunEnd::cancelled, "the call was cancelled");
  }
  cancel_waiting(&asked);
  pump();
  wake();
}

void Batch::stop(std::string why) {
  stopped_ = std::move(why);
  cancel();
}

}  // namespace fused
