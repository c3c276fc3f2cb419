#include "auth/authenticator.hpp"

#include <algorithm>
#include <array>

namespace fused {
namespace {

constexpr std::array<std::string_view, 4> kSchemes{"bearer", "fused-env-bearer", "fused-rtenv-bearer",
                                                   "fused-service-token"};
constexpr std::size_t kTokenBytesMax = 512;

bool same_word(std::string_view text, std::string_view lower_case) {
  return std::ranges::equal(text, lower_case, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  });
}

}  // namespace

std::string_view token_of_header(std::string_view authorization) {
  const auto space = authorization.find(' ');
  if (space == authorization.npos) return {};
  const auto scheme = authorization.substr(0, space);
  if (std::ranges::none_of(kSchemes, [&](std::string_view known) { return same_word(scheme, known); })) return {};
  std::string_view token = authorization.substr(space);
  while (!token.empty() && token.front() == ' ') token.remove_prefix(1);
  while (!token.empty() && token.back() == ' ') token.remove_suffix(1);
  return token.size() > kTokenBytesMax ? std::string_view() : token;
}

Actor Authenticator::authenticate(std::string_view authorization) const {
  const auto token = token_of_header(authorization);
  return token.empty() ? Actor{} : actor_of(token);
}

Actor Authenticator::actor_of(std::string_view token) const {
  Actor actor = people_.actor_of(token);
  if (actor.is_nobody()) actor = runs_.actor_of(token);
  if (!actor.is_nobody()) return actor;
  const auto shared = shares_.valid(token);
  if (!shared) return {};
  const auto maker = people_.user(shared->user_id);
  return maker ? actor_of_share_token(*shared, maker->organisation) : Actor{};
}

Actor actor_of_share_token(const ShareToken& token, std::string_view organisation) {
  Actor actor;
  actor.kind = ActorKind::share_token;
  actor.organisation = organisation;
  actor.share_token_id = token.id;
  return actor;
}

}  // namespace fused
