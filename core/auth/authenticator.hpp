// From the Authorization header to who asks. Tokens are found by their SHA-256, so that no comparison of secrets can be
// timed; nothing here reads the disk.
#pragma once
#include <string_view>

#include "auth/actor.hpp"
#include "auth/people.hpp"
#include "auth/run_tokens.hpp"
#include "auth/share_tokens.hpp"

namespace fused {

// The token in an Authorization header of one of the schemes Bearer, Fused-Env-Bearer, Fused-Rtenv-Bearer and
// Fused-Service-Token (in any case of letters); "" when there is none.
std::string_view token_of_header(std::string_view authorization);

class Authenticator {  // any thread
 public:
  Authenticator(const People& people, const ShareTokens& shares, const RunTokens& runs)
      : people_(people), shares_(shares), runs_(runs) {}

  // nobody: no header, another scheme, and a token that is unknown, revoked, expired or disabled, all alike.
  Actor authenticate(std::string_view authorization) const;
  // The same for a bare token.
  Actor actor_of(std::string_view token) const;

 private:
  const People& people_;
  const ShareTokens& shares_;
  const RunTokens& runs_;
};

// Who runs when a share token is used.
Actor actor_of_share_token(const ShareToken& token, std::string_view organisation);

}  // namespace fused
