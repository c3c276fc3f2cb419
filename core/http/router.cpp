#include "http/router.hpp"

#include <cstdio>
#include <cstdlib>

#include "http/target.hpp"

namespace fused {
namespace {

[[noreturn]] void bad_row(const Route& route, const char* why) {
  std::fprintf(stderr, "fused-server: route %s %s: %s\n", std::string(method_name(route.method)).c_str(),
               route.pattern.c_str(), why);
  std::abort();
}

// Takes the segment in front off `rest` (which begins behind its slash).
std::string_view take_segment(std::string_view& rest, bool& last) {
  const auto slash = rest.find('/');
  last = slash == std::string_view::npos;
  const auto segment = rest.substr(0, slash);
  rest = last ? std::string_view{} : rest.substr(slash + 1);
  return segment;
}

}  // namespace

std::string_view access_name(Access access) {
  switch (access) {
    case Access::open: return "open";
    case Access::share_path: return "share_path";
    case Access::run_or_user: return "run_or_user";
    case Access::signed_in: return "signed_in";
    case Access::owner: return "owner";
    case Access::driver: return "driver";
  }
  return "owner";
}

struct Router::Node {
  using Rows = std::vector<std::size_t>;  // indices of routes that end here, one a method
  std::map<std::string, std::unique_ptr<Node>, std::less<>> literals;
  std::unique_ptr<Node> value;  // {name}; each row has its own word for it
  Rows rows;
  Rows rest_rows;  // {rest...}
};

Router::Router(std::vector<Route> routes) : routes_(std::move(routes)), root_(std::make_unique<Node>()) {
  for (std::size_t index = 0; index < routes_.size(); ++index) {
    const Route& route = routes_[index];
    if (!route.pattern.starts_with('/')) bad_row(route, "the pattern must begin with /");
    if (!route.handler) bad_row(route, "has no handler");
    Node* node = root_.get();
    std::string_view rest = std::string_view(route.pattern).substr(1);
    bool many = false;
    for (bool last = false; !last;) {
      const auto segment = take_segment(rest, last);
      const bool braces = segment.starts_with('{') && segment.ends_with('}') && segment.size() > 2;
      if (!braces && segment.find_first_of("{}") != std::string_view::npos)
        bad_row(route, "braces must be a whole segment");
      many = braces && segment.ends_with("...}");
      if (many) {
        if (!last) bad_row(route, "{rest...} must be the last segment");
      } else if (braces) {
        if (!node->value) node->value = std::make_unique<Node>();
        node = node->value.get();
      } else {
        auto& next = node->literals[std::string(segment)];
        if (!next) next = std::make_unique<Node>();
        node = next.get();
      }
    }
    auto& rows = many ? node->rest_rows : node->rows;
    for (const auto other : rows)
      if (routes_[other].method == route.method) bad_row(route, "stands twice in the list");
    rows.push_back(index);
  }
}

Router::~Router() = default;

namespace {

bool answers(Method row, Method asked) { return row == asked || (row == Method::get && asked == Method::head); }

}  // namespace

bool Router::walk(const Node& node, Method method, std::string_view rest, Match& match) const {
  const auto try_rows = [&](const Node::Rows& rows) {
    for (const auto index : rows) {
      if (answers(routes_[index].method, method)) {
        match.outcome = Outcome::found;
        match.route = &routes_[index];
        match.index = index;
        return true;
      }
      match.allowed.push_back(routes_[index].method);
    }
    return false;
  };
  const std::string_view here = rest;
  bool last = false;
  const auto segment = take_segment(rest, last);
  const auto step = [&](const Node& next) { return last ? try_rows(next.rows) : walk(next, method, rest, match); };
  if (const auto literal = node.literals.find(segment); literal != node.literals.end())
    if (step(*literal->second)) return true;
  if (node.value && !segment.empty() && step(*node.value)) return true;
  return !here.empty() && try_rows(node.rest_rows);
}

Router::Match Router::match(Method method, std::string_view path) const {
  Match match;
  if (!path.starts_with('/')) return match;
  if (!walk(*root_, method, path.substr(1), match)) {
    if (!match.allowed.empty()) match.outcome = Outcome::method_not_allowed;
    return match;
  }
  match.allowed.clear();
  std::string_view pattern = std::string_view(match.route->pattern).substr(1);
  std::string_view rest = path.substr(1);
  for (bool last = false; !last;) {
    bool path_last = false;
    const std::string_view whole = rest;
    const auto word = take_segment(pattern, last);
    const auto segment = take_segment(rest, path_last);
    if (!word.starts_with('{')) continue;
    const bool many = word.ends_with("...}");
    const auto name = word.substr(1, word.size() - (many ? 5 : 2));
    match.values.emplace(name, percent_decoded(many ? whole : segment));
  }
  return match;
}

std::string print_routes(const std::vector<Route>& routes) {
  std::string lines;
  for (const auto& route : routes) {
    lines.append(method_name(route.method)).append(" ").append(route.pattern).append(" ");
    lines.append(access_name(route.access)).append(" ").append(route.operation_id).append("\n");
  }
  return lines;
}

}  // namespace fused
