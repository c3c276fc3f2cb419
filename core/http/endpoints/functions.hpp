// Saved functions: client-protocol.md §2.1 (their revisions: revisions.hpp). Who may not see a function is answered as
// if there were none.
#pragma once
#include <boost/asio/awaitable.hpp>

#include "http/endpoints/state_parts.hpp"

namespace fused {

// The record as the official client reads it; `viewer` decides nothing here: it has been asked already.
boost::json::object function_record(const SavedFunction& function);

// The function that the path's {id} names, when the actor may see it, or may change it.
Result<SharedSaved> visible_function(const StateParts& parts, const Request& request);
Result<SharedSaved> writable_function(const StateParts& parts, const Request& request);

// POST udf/new
struct SaveFunction {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// POST udf/by-id/{id}; with If-Match only over that revision, else 412
struct SaveOverFunction {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// DELETE udf/by-id/{id}: its share tokens die with it.
struct DeleteFunction {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET udf/by-id/{id}
struct GetFunction {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET udf/…/by-slug/{slug}, of {collection} or "default": of a user by {email} or {handle}, of the team, or public.
// There are no public functions on this server: that list is empty.
struct GetFunctionByName {
  enum class Of { email, handle, team, everybody };
  StateParts& parts;
  Of of;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET udf/self, udf/exec-env/self, udf/public with skip, limit (300, at most 1,000), udf_type (udf | app)
struct ListFunctions {
  enum class Whose { own, team, everybody };
  StateParts& parts;
  Whose whose;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET udf/shared/by-token/{token}: the source, for the organisation's people, and for others where the token says
// public_read.
struct GetSharedFunction {
  StateParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET code-proxy/by-url: refused; this server fetches no code.
struct RefuseCodeProxy {
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// GET collection/by-name/{name} and lists of collections: everybody has the one called "default".
struct GetCollection {
  StateParts& parts;
  bool as_list = false;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

}  // namespace fused
