// Share tokens of functions: udf-access-token/… of client-protocol.md §2.5. A token's maker and the owners of his
// organisation manage it; for all others there is none.
#pragma once
#include <boost/asio/awaitable.hpp>

#include "http/endpoints/state_parts.hpp"

namespace fused {

// POST udf-access-token/new {udf_id | udf_email + udf_slug, enabled, cache, public_read, access_scope, client_id,
// metadata_json, expires_in | expires_at}
struct CreateShareToken {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET udf-access-token/self | all, ?skip&limit (25, at most 1,000): own ones | for an owner the organisation's
struct ListShareTokens {
  StateParts& parts;
  bool all = false;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET, POST (change), DELETE udf-access-token/by-token/{token}: the token's text or its id
struct GetShareToken {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct UpdateShareToken {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct RevokeShareToken {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

}  // namespace fused
