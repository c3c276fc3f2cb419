#include "auth/run_tokens.hpp"

#include "base/ids.hpp"

namespace fused {

std::string RunTokens::begin(Actor actor) {
  actor.kind = ActorKind::run;
  return keep(std::move(actor));
}

std::string RunTokens::begin_driver() {
  Actor actor;
  actor.kind = ActorKind::driver;
  return keep(std::move(actor));
}

std::string RunTokens::keep(Actor actor) {
  std::string token = new_token("frt_");
  std::string hash = sha256_hex(token);
  const std::unique_lock lock(mutex_);
  actors_.emplace(std::move(hash), std::move(actor));
  return token;
}

void RunTokens::end(std::string_view token) {
  const std::string hash = sha256_hex(token);
  const std::unique_lock lock(mutex_);
  actors_.erase(hash);
}

Actor RunTokens::actor_of(std::string_view token) const {
  const std::string hash = sha256_hex(token);
  const std::shared_lock lock(mutex_);
  const auto found = actors_.find(hash);
  return found == actors_.end() ? Actor{} : found->second;
}

}  // namespace fused
