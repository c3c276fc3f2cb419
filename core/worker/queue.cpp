#include "worker/queue.hpp"

#include <algorithm>

namespace fused {
namespace {
constexpr auto kCalm = std::chrono::seconds(1);
}

bool RunQueue::admits(const std::string& caller, SteadyTime now) {
  const bool overloaded = now < overloaded_until_;
  bool fits = length_ < (overloaded ? overloaded_length_ : length_max_);
  if (!fits && overloaded)
    fits = length_ < std::min(2 * overloaded_length_, length_max_) && !by_caller_.contains(caller);
  if (!fits) overloaded_until_ = now + kCalm;
  return fits;
}

void RunQueue::push(Waiting& waiting) {
  if (waiting.nested) {
    nested_.push_back(&waiting);
    return;
  }
  auto& own = by_caller_[waiting.caller];
  if (own.empty()) turn_.push_back(waiting.caller);
  own.push_back(&waiting);
  ++length_;
}

Waiting* RunQueue::pop(bool nested_only) {
  if (!nested_.empty()) {
    Waiting* next = nested_.front();
    nested_.pop_front();
    return next;
  }
  if (nested_only || turn_.empty()) return nullptr;
  const std::string caller = std::move(turn_.front());
  turn_.pop_front();
  auto found = by_caller_.find(caller);
  Waiting* next = found->second.front();
  found->second.pop_front();
  --length_;
  if (found->second.empty())
    by_caller_.erase(found);
  else
    turn_.push_back(caller);
  return next;
}

void RunQueue::remove(Waiting& waiting) {
  if (waiting.nested) {
    std::erase(nested_, &waiting);
    return;
  }
  const auto found = by_caller_.find(waiting.caller);
  if (found == by_caller_.end()) return;
  const auto before = found->second.size();
  std::erase(found->second, &waiting);
  length_ -= before - found->second.size();
  if (found->second.empty()) {
    std::erase(turn_, waiting.caller);
    by_caller_.erase(found);
  }
}

}  // namespace fused
