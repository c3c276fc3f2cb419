// Of RunRegistry: reading the lines of a run while it lasts, and as long as it is answered again.
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "run/run_registry.hpp"

namespace fused {
namespace asio = boost::asio;

RunRegistry::Reader RunRegistry::reader(const std::string& run_id, const Actor& actor) const {
  Reader reader;
  reader.registry_ = this;
  const auto found = entries_.find(key_of(actor, run_id));
  if (found != entries_.end()) reader.entry_ = found->second;
  return reader;
}

void RunRegistry::drain() {
  draining_ = true;
  for (const auto& [key, entry] : entries_) entry->wake_readers();
}

const RunLines* RunRegistry::Reader::lines() const {
  const auto entry = entry_.lock();
  if (!entry) return nullptr;
  entry->last_poll = std::chrono::steady_clock::now();
  return entry->conversation ? entry->conversation->lines.get() : nullptr;
}

const Result<RunOutcome>* RunRegistry::Reader::outcome() const {
  const auto entry = entry_.lock();
  return entry && entry->done ? &*entry->done : nullptr;
}

bool RunRegistry::Reader::is_abandoned() const {
  const auto entry = entry_.lock();
  return registry_->draining_ && entry && !entry->done && entry->callers == 0;
}

asio::awaitable<void> RunRegistry::Reader::wait(std::uint64_t from, std::chrono::milliseconds patience) {
  const auto entry = entry_.lock();
  if (!entry || entry->done || is_abandoned()) co_return;
  // Held while it waits: neither the run's end nor a new attempt of the same id may take its lines away under it.
  const auto conversation = entry->conversation;
  RunLines* lines = conversation ? conversation->lines.get() : nullptr;
  if (lines && lines->total() > from) co_return;
  asio::steady_timer timer(registry_->io_, patience);
  const auto at = entry->readers.insert(entry->readers.end(), &timer);
  if (lines) lines->waiters.push_back(&timer);
  boost::system::error_code ignored;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  entry->readers.erase(at);
  if (lines) lines->waiters.remove(&timer);
  entry->last_poll = std::chrono::steady_clock::now();
}

}  // namespace fused
