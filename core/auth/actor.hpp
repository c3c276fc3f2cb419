// Who asks, and what that allows. An Actor is made from a token at the door (auth/tokens.hpp) and handed down.
#pragma once
#include <string>

namespace fused {

enum class ActorKind {
  nobody,       // no token, or one nobody knows
  user,         // an owner or member, by an API token
  share_token,  // a visitor with a share token: may run that one function
  run,          // a running function: rights of its owner, limited to running functions and files
  driver,       // of a cluster that runs tasks of jobs: takes attempts and tells of them, nothing else
};

enum class Role { none, member, owner };

struct Actor {
  ActorKind kind = ActorKind::nobody;
  Role role = Role::none;
  std::string user_id;
  std::string email;
  std::string username;
  std::string organisation;    // name; "default"
  std::string share_token_id;  // kind share_token: which; kind run: by which the first run of all came, "" by none
  int recursion = 0;           // kind run: depth of the run that asks
  std::string run_id;          // kind run: the run that asks

  bool is_nobody() const { return kind == ActorKind::nobody; }
};

}  // namespace fused
