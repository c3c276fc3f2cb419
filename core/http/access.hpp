// What is decided before a handler is called: is this Host ours, may this origin, may this actor.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/settings.hpp"
#include "http/message.hpp"
#include "http/router.hpp"

namespace fused {

// Against DNS rebinding: IP literals and localhost with any port pass, other names by Settings::allow_hosts ("*": all).
Status check_host(std::string_view host, const Settings& settings);
// "example.org:8783" → "example.org", "[::1]:80" → "[::1]"; nothing for what is not host[:port].
std::optional<std::string_view> host_name(std::string_view host);

// 401 for nobody, 403 for somebody who may not. Unknown, revoked and expired tokens are nobody and answer alike.
Status check_access(Access access, const Actor& actor);

// What a browser's page of another origin may do with the reply.
struct Cors {
  bool any = false;         // share-token URLs: every origin, without credentials
  std::string_view origin;  // of Settings::cors_origins: this one; of the request's header
};
inline constexpr std::string_view kSharedPrefix = "/server/v1/realtime-shared/";
// forbidden: a state-changing request of a page of an origin that is neither ours nor allowed.
Result<Cors> check_origin(const Request& request, std::string_view raw_path, const Settings& settings);
void add_cors_headers(const Cors& cors, Reply& reply);
// The answer to a preflight: 204, or 403 that names the origin and the setting.
Reply preflight(const Request& request, const Cors& cors);

}  // namespace fused
