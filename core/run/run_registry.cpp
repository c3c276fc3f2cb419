#include "run/run_registry.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace fused {
namespace asio = boost::asio;
namespace {

constexpr std::int64_t kEntryBytes = 4 << 10;  // of an answer without its texts

// What an answer holds in memory, the run's captured streams included.
std::int64_t bytes_of(const Result<RunOutcome>& answer, const RunConversation* conversation) {
  std::size_t bytes = kEntryBytes;
  if (answer) {
    bytes += answer->body.view.size() + answer->metadata.size() + answer->traceback.size() +
             answer->error_message.size() + answer->possible_formats.size() + answer->note.size();
    for (const auto& [name, value] : answer->headers) bytes += name.size() + value.size();
  }
  if (conversation && conversation->lines) bytes += static_cast<std::size_t>(conversation->lines->bytes());
  if (conversation)
    for (const CapturedStream* stream : {&conversation->out, &conversation->err})
      bytes += stream->total_bytes() - stream->cut_bytes();
  return static_cast<std::int64_t>(bytes);
}

}  // namespace

RunRegistry::RunRegistry(asio::io_context& io, RunService& runs, KeptAnswersMax kept_max)
    : io_(io),
      runs_(runs),
      tick_(io),
      kept_(
          kept_max,
          [this](const std::string& key) {
            const auto found = entries_.find(key);
            return found != entries_.end() && found->second->callers > 0;
          },
          [this](const std::string& key, bool may_leave_note) { return drop(key, may_leave_note); }) {
  asio::co_spawn(io_, sweep(), asio::detached);
}

asio::awaitable<RunRegistry::Answer> RunRegistry::start(RunRequest request, std::chrono::milliseconds patience,
                                                        bool polled,
                                                        std::function<void(std::function<void()>)> on_disconnect) {
  // The id is the caller's choice: another user's equal id is another run.
  const std::string key = key_of(request.actor, request.run_id);
  SharedEntry& entry = entries_[key];
  const bool failed_before =
      entry && entry->done && !(*entry->done && ((*entry->done)->ok() || (*entry->done)->is_promoted()));
  if (!entry || failed_before) {
    const int attempt = entry ? entry->attempt + 1 : 1;
    entry = std::make_shared<Entry>();
    entry->run_id = request.run_id;
    entry->user_id = request.actor.user_id;
    entry->attempt = attempt;
    if (attempt > 1) request.folder_id = request.run_id + '.' + std::to_string(attempt);
    kept_.remove(key);
    begin(entry, std::move(request), key);
  }
  const SharedEntry mine = entry;
  mine->polled |= polled;
  mine->last_poll = std::chrono::steady_clock::now();
  if (!polled && on_disconnect)
    // Weak: a nested caller's connection lasts as long as the run that asks, and would keep every answer until then.
    on_disconnect([weak = std::weak_ptr(mine)] {
      const SharedEntry left = weak.lock();
      if (left && --left->callers <= 0 && !left->polled && !left->done)
        left->ticket->cancel(RunEnd::cancelled, "nobody waits for the run any more");
    });
  co_return co_await wait(mine, key, patience);
}

asio::awaitable<RunRegistry::Answer> RunRegistry::poll(const std::string& run_id, const Actor& actor,
                                                       std::chrono::milliseconds patience) {
  const std::string key = key_of(actor, run_id);
  const auto found = entries_.find(key);
  if (found == entries_.end())
    co_return Answer(
        fail(ErrorKind::not_found, "run '" + run_id.substr(0, 64) + "' is unknown, or ended more than 60 s ago"));
  const SharedEntry entry = found->second;
  entry->last_poll = std::chrono::steady_clock::now();
  co_return co_await wait(entry, key, patience);
}

void RunRegistry::begin(const SharedEntry& entry, RunRequest request, const std::string& key) {
  entry->ticket = std::make_shared<RunTicket>();
  asio::co_spawn(
      io_,
      [this, entry, key, request = std::move(request)]() mutable -> asio::awaitable<void> {
        RunBegun begun = [entry](std::shared_ptr<RunConversation> conversation) {
          entry->conversation = std::move(conversation);
          entry->conversation->keep_lines();
          entry->wake_readers();
        };
        auto outcome = co_await runs_.run(std::move(request), entry->ticket, std::move(begun));
        entry->done.emplace(std::move(outcome));
        entry->done_at = std::chrono::steady_clock::now();
        for (auto* timer : entry->waiters) timer->cancel();
        entry->wake_readers();
        kept_.add(key, bytes_of(*entry->done, entry->conversation.get()));
      },
      asio::detached);
}

std::int64_t RunRegistry::drop(const std::string& key, bool may_leave_note) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return 0;
  Entry& entry = *found->second;
  // Nobody has seen this one: that there was a result is told for as long as it would have been kept.
  if (!may_leave_note || !entry.done || !*entry.done) {
    entries_.erase(found);
    return 0;
  }
  const auto bytes = (*entry.done)->body.view.size();
  entry.done.emplace(fail(ErrorKind::unprocessable,
                          "the run ended with outcome '" + (*entry.done)->outcome + "', but its result of " +
                              std::to_string(bytes) + " bytes was dropped before it was asked for: too many results " +
                              "waited to be fetched. Run it again, and fetch results as they come"));
  entry.conversation.reset();
  entry.ticket.reset();
  return kEntryBytes;
}

std::shared_ptr<const RunConversation> RunRegistry::conversation(const std::string& run_id, const Actor& actor) const {
  const auto found = entries_.find(key_of(actor, run_id));
  return found == entries_.end() ? nullptr : found->second->conversation;
}

asio::awaitable<RunRegistry::Answer> RunRegistry::wait(SharedEntry entry, std::string key,
                                                       std::chrono::milliseconds patience) {
  if (!entry->done) {
    asio::steady_timer timer(io_, patience);
    const auto at = entry->waiters.insert(entry->waiters.end(), &timer);
    ++entry->callers;
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    entry->waiters.erase(at);
    --entry->callers;
    entry->last_poll = std::chrono::steady_clock::now();
  }
  if (entry->done) kept_.taken(key);
  co_return entry->done;
}

asio::awaitable<void> RunRegistry::sweep() {
  for (;;) {
    tick_.expires_after(std::chrono::seconds(1));
    boost::system::error_code error;
    co_await tick_.async_wait(asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    const auto now = std::chrono::steady_clock::now();
    for (auto at = entries_.begin(); at != entries_.end();) {
      Entry& entry = *at->second;
      const bool goes_on = entry.done && *entry.done && (*entry.done)->is_promoted() && *(*entry.done)->goes_on;
      if (entry.done && !goes_on && now - entry.done_at > kAnswerAgain) {
        kept_.remove(at->first);
        at = entries_.erase(at);
        continue;
      }
      if (!entry.done && entry.polled && entry.callers == 0 && now - entry.last_poll > kPollPatience)
        entry.ticket->cancel(RunEnd::cancelled, "nobody has asked for the run's result for 30 s");
      ++at;
    }
  }
}

}  // namespace fused
