// Tokens made for one run, dead when it ends (issue "As whom"). In memory only: a restart ends every run and its token.
#pragma once
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "auth/actor.hpp"

namespace fused {

class RunTokens {  // any thread
 public:
  // `actor` is whose rights the run has; its kind becomes `run`. Every begin() is followed by an end().
  std::string begin(Actor actor);
  // Of the driver of a cluster; it lives as long as the server.
  std::string begin_driver();
  void end(std::string_view token);
  Actor actor_of(std::string_view token) const;  // nobody for one that ended or never was

 private:
  std::string keep(Actor actor);

  mutable std::shared_mutex mutex_;
  std::unordered_map<std::string, Actor> actors_;  // by token hash
};

}  // namespace fused
