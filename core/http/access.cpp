#include "http/access.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace fused {
namespace {

constexpr std::string_view kMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return lower(x) == lower(y);
  });
}

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

bool is_ipv4(std::string_view text) {
  int parts = 0;
  while (true) {
    const auto dot = text.find('.');
    const auto part = text.substr(0, dot);
    int value = 0;
    if (part.empty() || part.size() > 3 || (part.size() > 1 && part.front() == '0')) return false;
    for (const char c : part) {
      if (c < '0' || c > '9') return false;
      value = value * 10 + (c - '0');
    }
    if (value > 255) return false;
    ++parts;
    if (dot == std::string_view::npos) return parts == 4;
    text.remove_prefix(dot + 1);
  }
}

bool is_ipv6_literal(std::string_view text) {
  if (text.size() < 4 || text.front() != '[' || text.back() != ']') return false;
  text = text.substr(1, text.size() - 2);
  return text.find(':') != std::string_view::npos && std::ranges::all_of(text, [](char c) {
           return std::isxdigit(static_cast<unsigned char>(c)) || c == ':' || c == '.';
         });
}

bool changes_state(Method method) {
  return method == Method::post || method == Method::put || method == Method::patch || method == Method::delete_;
}

std::string shown(std::string_view text) { return printable(text.substr(0, 100)); }

}  // namespace

std::optional<std::string_view> host_name(std::string_view host) {
  if (host.starts_with('[')) {
    const auto end = host.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    const auto rest = host.substr(end + 1);
    if (!rest.empty() && (rest.front() != ':' || !is_port(rest.substr(1)))) return std::nullopt;
    return host.substr(0, end + 1);
  }
  const auto colon = host.find(':');
  if (colon != std::string_view::npos && !is_port(host.substr(colon + 1))) return std::nullopt;
  const auto name = host.substr(0, colon);
  if (name.empty()) return std::nullopt;
  return name;
}

Status check_host(std::string_view host, const Settings& settings) {
  const auto name = host_name(host);
  if (!name) return fail(ErrorKind::invalid_argument, "the Host '" + shown(host) + "' is not name[:port]");
  if (is_ipv4(*name) || is_ipv6_literal(*name) || equal_ignoring_case(*name, "localhost")) return {};
  for (const auto& allowed : settings.allow_hosts)
    if (allowed == "*" || equal_ignoring_case(*name, allowed)) return {};
  return fail(ErrorKind::forbidden, "the server does not answer under the name '" + shown(*name) +
                                        "'; start it with --allow-host " + shown(*name) + " if it is its own");
}

Status check_access(Access access, const Actor& actor) {
  if (access == Access::open || access == Access::share_path) return {};
  if (actor.kind == ActorKind::nobody)
    return fail(
        ErrorKind::unauthenticated,
        "this needs a valid token in the header 'Authorization: Bearer <token>' (see DIR/token, or fused login)");
  if (access == Access::driver && actor.kind != ActorKind::driver)
    return fail(ErrorKind::forbidden, "this is for the driver of the cluster that runs this server's jobs");
  if (actor.kind == ActorKind::driver && access != Access::driver)
    return fail(ErrorKind::forbidden, "the driver of a cluster takes attempts of jobs and tells of them, nothing else");
  if (actor.kind == ActorKind::share_token)
    return fail(ErrorKind::forbidden, "a share token may run its one function and nothing else");
  if (actor.kind == ActorKind::run && access != Access::run_or_user)
    return fail(ErrorKind::forbidden,
                "a running function may run functions and use files, not change people, tokens or saves");
  if (access == Access::owner && actor.role != Role::owner)
    return fail(ErrorKind::forbidden, "this is for owners of the organisation");
  return {};
}

Result<Cors> check_origin(const Request& request, std::string_view raw_path, const Settings& settings) {
  if (raw_path.starts_with(kSharedPrefix)) return Cors{.any = true, .origin = {}};
  const auto origin = request.header("origin");
  if (origin.empty()) return Cors{};
  for (const auto& allowed : settings.cors_origins)
    if (allowed == "*" || equal_ignoring_case(allowed, origin)) return Cors{.any = false, .origin = origin};
  if (!changes_state(request.method)) return Cors{};
  const auto scheme = origin.find("://");
  const bool ours =
      scheme != std::string_view::npos && equal_ignoring_case(origin.substr(scheme + 3), request.header("host"));
  if (ours) return Cors{};
  return fail(ErrorKind::forbidden, "pages of the origin '" + shown(origin) +
                                        "' may not change anything here; allow it with --cors-origin if it is yours");
}

void add_cors_headers(const Cors& cors, Reply& reply) {
  if (cors.any) {
    reply.with("access-control-allow-origin", "*").with("access-control-expose-headers", "*");
  } else if (!cors.origin.empty()) {
    reply.with("access-control-allow-origin", std::string(cors.origin)).with("vary", "Origin");
    reply.with("access-control-expose-headers",
               "etag, retry-after, x-request-id, x-fused-metadata, x-fused-error, x-fused-cache, x-fused-cached");
  }
}

Reply preflight(const Request& request, const Cors& cors) {
  if (!cors.any && cors.origin.empty())
    return Reply::error({ErrorKind::forbidden,
                         "pages of the origin '" + shown(request.header("origin")) +
                             "' may not call this; allow it with --cors-origin if it is yours",
                         {}},
                        request.request_id);
  Reply reply;
  reply.status = 204;
  reply.with("access-control-allow-methods", cors.any ? "GET, HEAD, POST, OPTIONS" : std::string(kMethods));
  // '*' does not cover Authorization, so what is asked for is named; the parser has let only printable text through.
  const auto asked = request.header("access-control-request-headers");
  if (!asked.empty()) reply.with("access-control-allow-headers", std::string(asked.substr(0, 2048)));
  reply.with("access-control-max-age", "7200");
  return reply;
}

}  // namespace fused
