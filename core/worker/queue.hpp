// Runs that wait for a worker: bounded (shorter while more comes than can be done), fair between callers (each caller's
// own runs in order, callers in turn), nested runs first (their parents hold memory and wait for them).
#pragma once
#include <algorithm>
#include <cstddef>
#include <deque>
#include <list>
#include <string>
#include <unordered_map>

#include "base/clock.hpp"
#include "base/completion.hpp"

namespace fused {

struct Waiting {
  std::string caller;
  bool nested = false;
  Completion<bool> turn;  // true: go; false: dropped
};

class RunQueue {
 public:
  // `overloaded_length`: see admits(); 0: the same as `length_max`.
  explicit RunQueue(std::size_t length_max, std::size_t overloaded_length = 0)
      : length_max_(length_max),
        overloaded_length_(overloaded_length == 0 ? length_max : std::min(overloaded_length, length_max)) {}

  // May one more of this caller wait? A queue that has refused somebody within the last second is overloaded: what
  // comes lastingly faster than it is done would only wait the longer the longer the queue is, so that it is kept at
  // `overloaded_length`, and up to twice that for callers of whom none waits.
  bool admits(const std::string& caller, SteadyTime now);

  bool is_full() const { return length_ >= length_max_; }
  std::size_t length() const { return length_ + nested_.size(); }
  std::size_t length_max() const { return length_max_; }
  bool has_nested() const { return !nested_.empty(); }
  void push(Waiting& waiting);
  Waiting* pop(bool nested_only);  // the next, or null
  void remove(Waiting& waiting);

 private:
  std::size_t length_max_;
  std::size_t overloaded_length_;
  SteadyTime overloaded_until_{};
  std::size_t length_ = 0;
  std::deque<Waiting*> nested_;
  std::unordered_map<std::string, std::deque<Waiting*>> by_caller_;
  std::list<std::string> turn_;  // callers with waiting runs, the next first
};

}  // namespace fused
