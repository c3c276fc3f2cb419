// Runs that wait for a worker: bounded, fair between callers (each caller's own runs in order, callers in turn), nested
// runs first (their parents hold memory and wait for them).
#pragma once
#include <cstddef>
#include <deque>
#include <list>
#include <string>
#include <unordered_map>

#include "base/completion.hpp"

namespace fused {

struct Waiting {
  std::string caller;
  bool nested = false;
  Completion<bool> turn;  // true: go; false: dropped
};

class RunQueue {
 public:
  explicit RunQueue(std::size_t length_max) : length_max_(length_max) {}

  bool is_full() const { return length_ >= length_max_; }
  std::size_t length() const { return length_ + nested_.size(); }
  std::size_t length_max() const { return length_max_; }
  bool has_nested() const { return !nested_.empty(); }
  void push(Waiting& waiting);
  Waiting* pop(bool nested_only);  // the next, or null
  void remove(Waiting& waiting);

 private:
  std::size_t length_max_;
  std::size_t length_ = 0;
  std::deque<Waiting*> nested_;
  std::unordered_map<std::string, std::deque<Waiting*>> by_caller_;
  std::list<std::string> turn_;  // callers with waiting runs, the next first
};

}  // namespace fused
