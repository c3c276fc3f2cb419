// One run for all that ask for the same thing at the same time. Everything is on the server's one thread: joining is a
// look into a table, waiting is a suspended coroutine.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/completion.hpp"
#include "cache/cache_key.hpp"

namespace fused {

// Who waits for whom. A run that would wait for a flight which, over others, waits for it, must not join.
class WaitGraph {
 public:
  void begin(const std::string& waiter, const std::string& waited_for) { edges_[waiter].insert(waited_for); }
  void end(const std::string& waiter, const std::string& waited_for);
  bool reaches(const std::string& from, const std::string& to) const;
  bool empty() const { return edges_.empty(); }

 private:
  std::map<std::string, std::multiset<std::string>> edges_;
};

template <class T>
class SingleFlight {
 public:
  // What a caller brings. `work` is called for one of the callers only, or for a second one after a crash.
  struct Caller {
    std::string name;    // of its own run, for the wait graph
    std::string inside;  // the run that asks, "" where none does
    std::function<boost::asio::awaitable<T>()> work;
    std::function<void()> abandon;  // ends `work`: nobody waits any more
  };
  struct Landing {
    T value;
    bool led = false;  // it was this caller's own work
  };
  // Held by a caller while it waits; `leave` makes its `fly` return `value` at once.
  class Seat {
   public:
    void leave(T value) {
      if (leave_) std::exchange(leave_, nullptr)(std::move(value));
    }

   private:
    friend class SingleFlight;
    std::function<void(T)> leave_;
  };

  // `is_crash`: nobody's fault, so one of the others may try once more.
  SingleFlight(boost::asio::io_context& io, std::function<bool(const T&)> is_crash)
      : io_(io), is_crash_(std::move(is_crash)) {}

  bool is_flying(const Digest& key) const { return flights_.contains(key); }
  // May this caller wait for the flight of `key`, or would it wait for itself?
  bool may_join(const Digest& key, const std::string& inside) const {
    const auto found = flights_.find(key);
    return found == flights_.end() || inside.empty() || !waits_.reaches(found->second->node, inside);
  }
  WaitGraph& waits() { return waits_; }
  std::size_t size() const { return flights_.size(); }

  // Joins the flight of `key`, or begins it. `seat` outlives the wait.
  boost::asio::awaitable<Landing> fly(Digest key, Caller caller, std::shared_ptr<Seat> seat) {
    auto [at, is_new] = flights_.try_emplace(key);
    if (is_new) {
      at->second = std::make_shared<Flight>();
      at->second->node = "flight " + std::to_string(++last_);
    }
    const std::shared_ptr<Flight> flight = at->second;
    auto passenger = std::make_shared<Passenger>();
    passenger->caller = std::move(caller);
    flight->passengers.push_back(passenger);
    if (!passenger->caller.inside.empty()) waits_.begin(passenger->caller.inside, flight->node);
    seat->leave_ = [this, key, flight, passenger](T value) {
      if (passenger->landed.is_set()) return;
      flight->passengers.remove(passenger);
      passenger->landed.set({std::move(value), false});
      if (flight->passengers.empty()) {
        // Whoever comes now finds no flight, not one that is being brought down.
        if (const auto found = flights_.find(key); found != flights_.end() && found->second == flight)
          flights_.erase(found);
        if (flight->abandon) std::exchange(flight->abandon, nullptr)();
      }
    };
    if (is_new) begin(key, flight, passenger);
    Landing landing = co_await passenger->landed.wait();
    seat->leave_ = nullptr;
    if (!passenger->caller.inside.empty()) waits_.end(passenger->caller.inside, flight->node);
    co_return landing;
  }

 private:
  struct Passenger {
    Caller caller;
    Completion<Landing> landed;
  };
  struct Flight {
    std::string node;
    std::list<std::shared_ptr<Passenger>> passengers;
    std::function<void()> abandon;
    int attempts = 0;
  };

  void begin(const Digest& key, const std::shared_ptr<Flight>& flight, const std::shared_ptr<Passenger>& pilot) {
    ++flight->attempts;
    flight->abandon = pilot->caller.abandon;
    waits_.begin(flight->node, pilot->caller.name);
    boost::asio::co_spawn(
        io_,
        [this, key, flight, pilot]() -> boost::asio::awaitable<void> {
          T value = co_await pilot->caller.work();
          waits_.end(flight->node, pilot->caller.name);
          land(key, flight, pilot, std::move(value));
        },
        boost::asio::detached);
  }

  void land(const Digest& key, const std::shared_ptr<Flight>& flight, const std::shared_ptr<Passenger>& pilot,
            T value) {
    flight->abandon = nullptr;
    if (is_crash_(value) && flight->attempts == 1) {
      flight->passengers.remove(pilot);
      pilot->landed.set({value, true});
      if (!flight->passengers.empty()) return begin(key, flight, flight->passengers.front());
    }
    if (const auto found = flights_.find(key); found != flights_.end() && found->second == flight)
      flights_.erase(found);
    for (const auto& passenger : std::exchange(flight->passengers, {}))
      passenger->landed.set({value, passenger == pilot});
  }

  boost::asio::io_context& io_;
  std::function<bool(const T&)> is_crash_;
  std::unordered_map<Digest, std::shared_ptr<Flight>, DigestHash> flights_;
  WaitGraph waits_;
  std::uint64_t last_ = 0;
};

}  // namespace fused
