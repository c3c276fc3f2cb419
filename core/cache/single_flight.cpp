#include "cache/single_flight.hpp"

#include <vector>

namespace fused {

void WaitGraph::end(const std::string& waiter, const std::string& waited_for) {
  const auto found = edges_.find(waiter);
  if (found == edges_.end()) return;
  if (const auto edge = found->second.find(waited_for); edge != found->second.end()) found->second.erase(edge);
  if (found->second.empty()) edges_.erase(found);
}

bool WaitGraph::reaches(const std::string& from, const std::string& to) const {
  std::vector<std::string> todo{from};
  std::set<std::string> seen;
  while (!todo.empty()) {
    const std::string at = std::move(todo.back());
    todo.pop_back();
    if (at == to) return true;
    if (!seen.insert(at).second) continue;
    if (const auto found = edges_.find(at); found != edges_.end())
      todo.insert(todo.end(), found->second.begin(), found->second.end());
  }
  return false;
}

}  // namespace fused
