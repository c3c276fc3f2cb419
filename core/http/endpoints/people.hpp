// Who one is (client-protocol.md §1, §2.5) and, below /api/v1, the organisation's people and their tokens.
#pragma once
#include <boost/asio/awaitable.hpp>

#include "http/endpoints/state_parts.hpp"

namespace fused {

// GET user/self
struct WhoAmI {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET realtime-instance, realtime-instance/available: the one there is, "local".
struct ListInstances {
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET execution-env/self
struct GetEnvironment {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET execution-env/token: the very token that asks; none is made by a GET.
struct GetEnvironmentToken {
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// GET /api/v1/users; an owner sees all of his organisation
struct ListUsers {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// POST /api/v1/users {email, username, role}: answers with the user and his first token
struct CreateUser {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// POST /api/v1/users/{id} {enabled, role}
struct UpdateUser {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET, POST {name, expires_in | expires_at} /api/v1/users/{id}/tokens; {id} "self" is oneself
struct ListApiTokens {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct CreateApiToken {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// DELETE /api/v1/users/{id}/tokens/{token_id}
struct RevokeApiToken {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// POST /api/v1/organisations {name, email, username}: for owners of the organisation "default", who run the server.
// Answers with the organisation, its first owner and his token.
struct CreateOrganisation {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

}  // namespace fused
