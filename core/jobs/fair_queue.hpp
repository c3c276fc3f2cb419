// Whose turn it is: the user with the fewest cores at work, then the one who has used least lately; of one user the job
// with the highest priority, then the oldest. Knows no clock; one thread.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "base/clock.hpp"

namespace fused {

struct FairRules {
  std::chrono::milliseconds half_life{600'000};  // after which use counts half
  int looked_at_max = 16;                        // jobs of one user that are tried where the first does not fit
};

class FairQueue {
 public:
  explicit FairQueue(FairRules rules = {}) : rules_(rules) {}

  struct Place {
    int priority = 0;
    std::uint64_t order = 0;  // of submission
    auto operator<=>(const Place& other) const {
      if (priority != other.priority) return other.priority <=> priority;
      return order <=> other.order;
    }
    bool operator==(const Place&) const = default;
  };

  // A job that has a task to start. Adding one that is there and removing one that is not do nothing.
  void add(const std::string& user, Place place, const std::string& job_id);
  void remove(const std::string& user, Place place);
  // `cores` of the user begin or end to be at work.
  void took(const std::string& user, int cores, SteadyTime now);
  void gave_back(const std::string& user, int cores, SteadyTime since, SteadyTime now);

  // The first job, in order of turn, for which `fits` holds; it is asked in that order.
  std::optional<std::string> choose(SteadyTime now, const std::function<bool(const std::string&)>& fits) const;

 private:
  struct User {
    std::map<Place, std::string> ready;
    int cores = 0;
    double used_core_ms = 0;  // at used_at
    SteadyTime used_at{};
  };
  double used(const User& user, SteadyTime now) const;

  FairRules rules_;
  std::map<std::string, User> users_;  // ordered, so that a simulation can be repeated
};

}  // namespace fused
