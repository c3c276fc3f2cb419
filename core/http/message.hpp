// One request and one reply, free of sockets, so that endpoints are plain functions that tests call.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "auth/actor.hpp"
#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/result.hpp"
#include "http/body.hpp"

namespace fused {

enum class Method { get, head, post, put, delete_, options, patch };
std::string_view method_name(Method method);

struct Query {
  std::vector<std::pair<std::string, std::string>> items;  // percent-decoded, in order
  const std::string* find(std::string_view name) const;    // the last of that name, or null
  std::string value_or(std::string_view name, std::string_view fallback) const;
};

struct Request {
  Method method = Method::get;
  std::string target;                                           // as sent: path and query
  std::string path;                                             // percent-decoded once
  std::map<std::string, std::string, std::less<>> path_values;  // of the route's {names}
  Query query;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  Body body;                                                 // whole when a handler is called
  std::string request_id;                                    // X-Request-Id, ours or the caller's
  std::string peer;                                          // IP address
  Actor actor;                                               // who asks; Actor{} is nobody
  SteadyTime received{};
  // Set by the connection: calls back once when the peer goes away while the reply is awaited. Null where nobody
  // watches (tests, nested calls).
  std::function<void(std::function<void()>)> on_disconnect;

  std::string_view header(std::string_view lower_case_name) const;  // "" when absent
};

struct Reply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  Bytes body;
  // Where the body comes in pieces, behind `body`: each as soon as it is there, "" is the end. The connection is closed
  // behind it.
  std::function<boost::asio::awaitable<std::string>()> next_piece;

  Reply& with(std::string name, std::string value) {
    headers.emplace_back(std::move(name), std::move(value));
    return *this;
  }
  static Reply json(std::string text, int status = 200);
  static Reply text(std::string body, std::string content_type, int status = 200);
  static Reply error(const Error& error,
                     std::string_view request_id);  // {"error_type","message","detail","request_id"}
};

}  // namespace fused
