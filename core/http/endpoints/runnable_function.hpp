// The saved function that somebody names for later: a schedule, the end of a job.
#pragma once
#include <string>

#include "auth/actor.hpp"
#include "functions/function_store.hpp"

namespace fused {

// By id, by name among the actor's own, then by name in his organisation. not_found says how to find what there is.
Result<SharedSaved> runnable_function(const FunctionStore& functions, const Actor& actor, const std::string& named);

}  // namespace fused
