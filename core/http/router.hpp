// From method and path to the row of the route list (http/routes.cpp) that answers.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/message.hpp"

namespace fused {

// What a row asks of the caller before its handler is called (http/access.hpp). Everything that is not `open` or
// `share_path` needs a token in `Authorization`; cookies never count here.
enum class Access {
  open,         // anybody; the handler may say more to an actor who is somebody (/health)
  share_path,   // the {token} in the path is the right; the handler resolves it: unknown and revoked are the same 404
  run_or_user,  // an owner or member, or a running function acting for its owner: runs, reading functions and files
  signed_in,    // an owner or member in person; a running function is refused: people, tokens, saves
  owner,        // an owner in person
  driver,       // the driver of a cluster that runs tasks of jobs, and nobody else
};
std::string_view access_name(Access access);

// Called on the server's one thread. An exception that leaves it is answered as 500 and logged: it is our fault, never
// how input is refused. The Request stays where it is until the reply has been given.
using Handler = std::function<boost::asio::awaitable<Reply>(Request&)>;

struct Route {
  Method method = Method::get;  // get answers head too; options is answered by the server itself
  std::string pattern;          // "/server/v1/udf/by-id/{id}": {name} is one segment, {rest...} one or more, at the end
  Access access = Access::owner;
  Handler handler;
  std::string operation_id;         // of api/openapi.yaml; also the label in /metrics
  std::int64_t body_bytes_max = 0;  // 0: Settings::body_bytes_max
};

// Immutable after construction; literal segments win over {name}, and {name} over {rest...}.
class Router {
 public:
  // Aborts on two rows with the same method and pattern or on a malformed pattern: a mistake in the list, not in input.
  explicit Router(std::vector<Route> routes);
  ~Router();
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  enum class Outcome { found, method_not_allowed, not_found };
  using PathValues = std::map<std::string, std::string, std::less<>>;
  struct Match {
    Outcome outcome = Outcome::not_found;
    const Route* route = nullptr;  // found
    std::size_t index = 0;         // found: of `routes()`
    PathValues values;             // found: {names}, percent-decoded each for itself ("a%2Fb" is one segment)
    std::vector<Method> allowed;   // method_not_allowed: what the path does answer
  };
  // `path` as sent (still percent-encoded, well-formed: http/target.hpp has checked it), without the query.
  Match match(Method method, std::string_view path) const;

  const std::vector<Route>& routes() const { return routes_; }

 private:
  struct Node;
  bool walk(const Node& node, Method method, std::string_view rest, Match& match) const;

  std::vector<Route> routes_;
  std::unique_ptr<Node> root_;
};

// One line a row, "METHOD pattern access operation_id", in the order of the list: `fused-server --print-routes`.
std::string print_routes(const std::vector<Route>& routes);

}  // namespace fused
