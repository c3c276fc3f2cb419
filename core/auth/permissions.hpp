// Who may see and who may change what belongs to a user. What one may not see answers as if it were not there.
#pragma once
#include <string_view>

#include "auth/actor.hpp"

namespace fused {

// Owners and members, and runs acting for one, see what is their organisation's.
inline bool may_see(const Actor& actor, std::string_view organisation) {
  return (actor.kind == ActorKind::user || actor.kind == ActorKind::run) && actor.organisation == organisation;
}
// In person only: a member what is his own, an owner anything of the organisation.
inline bool may_write(const Actor& actor, std::string_view organisation, std::string_view owner_id) {
  return actor.kind == ActorKind::user && actor.organisation == organisation &&
         (actor.role == Role::owner || actor.user_id == owner_id);
}

}  // namespace fused
