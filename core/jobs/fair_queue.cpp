#include "jobs/fair_queue.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

namespace fused {
namespace {

double ms(SteadyTime::duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

constexpr double kForgottenCoreMs = 1;

}  // namespace

double FairQueue::used(const User& user, SteadyTime now) const {
  const double age = std::max(0.0, ms(now - user.used_at));
  return user.used_core_ms * std::exp2(-age / ms(rules_.half_life));
}

void FairQueue::add(const std::string& user, Place place, const std::string& job_id) {
  users_[user].ready.emplace(place, job_id);
}

void FairQueue::remove(const std::string& user, Place place) {
  if (const auto found = users_.find(user); found != users_.end()) found->second.ready.erase(place);
}

void FairQueue::took(const std::string& user, int cores, SteadyTime now) {
  User& entry = users_[user];
  entry.cores += cores;
  entry.used_core_ms = used(entry, now);
  entry.used_at = now;
}

void FairQueue::gave_back(const std::string& user, int cores, SteadyTime since, SteadyTime now) {
  User& entry = users_[user];
  entry.cores -= cores;
  entry.used_core_ms = used(entry, now) + cores * ms(now - since);
  entry.used_at = now;
  // A thousand users who came once need not be looked at for ever.
  std::erase_if(users_, [&](const auto& each) {
    const User& one = each.second;
    return one.cores == 0 && one.ready.empty() && used(one, now) < kForgottenCoreMs;
  });
}

std::optional<std::string> FairQueue::choose(SteadyTime now,
                                             const std::function<bool(const std::string&)>& fits) const {
  std::vector<std::tuple<int, double, const User*>> turns;
  for (const auto& [name, user] : users_)
    if (!user.ready.empty()) turns.emplace_back(user.cores, used(user, now), &user);
  std::stable_sort(turns.begin(), turns.end(), [](const auto& a, const auto& b) {
    return std::tie(std::get<0>(a), std::get<1>(a)) < std::tie(std::get<0>(b), std::get<1>(b));
  });
  for (const auto& [cores, use, user] : turns) {
    int looked_at = 0;
    for (const auto& [place, job_id] : user->ready) {
      if (fits(job_id)) return job_id;
      if (++looked_at == rules_.looked_at_max) break;
    }
  }
  return std::nullopt;
}

}  // namespace fused
