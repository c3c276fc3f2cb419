// Who may see and who may change what belongs to a user. What one may not see answers as if it were not there.
#pragma once
#include <string_view>

#include "auth/actor.hpp"

namespace fused {

// Owners and members, and runs acting for one, see what is their organisation's.
inline bool may_see(const Actor& actor, std::string_view organisation) {
  return (actor.kind == ActorKind::user || actor.kind == ActorKind::run) && actor.organisation == organisation;
}
// A run that a share-token visitor began lists nothing but what is its function's owner's: the visitor chose the
// parameters, and must not learn by them what else the organisation has.
inline bool may_list_all_of_organisation(const Actor& actor) {
  return actor.kind == ActorKind::user || (actor.kind == ActorKind::run && actor.share_token_id.empty());
}
// In person only: a member what is his own, an owner anything of the organisation.
inline bool may_write(const Actor& actor, std::string_view organisation, std::string_view owner_id) {
  return actor.kind == ActorKind::user && actor.organisation == organisation &&
         (actor.role == Role::owner || actor.user_id == owner_id);
}

}  // namespace fused
