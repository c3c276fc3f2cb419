#include "run/kept_answers.hpp"

namespace fused {

void KeptAnswers::add(const std::string& key, std::int64_t bytes) {
  remove(key);
  by_key_[key] = waiting_.insert(waiting_.end(), {key, bytes, false});
  bytes_ += bytes;
  shrink(key, taken_);
  shrink(key, waiting_);
}

void KeptAnswers::taken(const std::string& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end() || found->second->taken) return;
  found->second->taken = true;
  taken_.splice(taken_.end(), waiting_, found->second);
}

void KeptAnswers::remove(const std::string& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  bytes_ -= found->second->bytes;
  (found->second->taken ? taken_ : waiting_).erase(found->second);
  by_key_.erase(found);
}

void KeptAnswers::shrink(const std::string& newest, Order& order) {
  for (auto at = order.begin(); at != order.end() && is_over();) {
    const Kept kept = *at++;
    if (kept.key == newest || busy_(kept.key)) continue;
    // Where there are too many, notes would be too many as well.
    const bool may_leave_note = !kept.taken && by_key_.size() <= max_.answers;
    remove(kept.key);
    const std::int64_t note = drop_(kept.key, may_leave_note);
    if (note == 0) continue;
    by_key_[kept.key] = taken_.insert(taken_.end(), {kept.key, note, true});
    bytes_ += note;
  }
}

}  // namespace fused
