#include "http/sessions.hpp"

#include <algorithm>

#include "base/ids.hpp"

namespace fused {

std::string Sessions::add(Entries& entries, std::string authorization, SteadyTime expires) {
  std::erase_if(entries, [now = clock_.steady()](const auto& entry) { return entry.second.expires <= now; });
  if (entries.size() >= kCountMax)
    entries.erase(std::ranges::min_element(entries, {}, [](const auto& entry) { return entry.second.expires; }));
  std::string secret = new_token("");
  entries.emplace(sha256_hex(secret), Entry{std::move(authorization), expires});
  return secret;
}

Sessions::Entries::iterator Sessions::find(Entries& entries, std::string_view secret) {
  const auto found = entries.find(sha256_hex(secret));
  if (found == entries.end() || found->second.expires > clock_.steady()) return found;
  entries.erase(found);
  return entries.end();
}

std::string Sessions::make_code(std::string authorization) {
  return add(codes_, std::move(authorization), clock_.steady() + kCodeLife);
}

std::optional<std::string> Sessions::redeem(std::string_view code) {
  const auto found = find(codes_, code);
  if (found == codes_.end()) return std::nullopt;
  std::string authorization = std::move(found->second.authorization);
  codes_.erase(found);
  return open(std::move(authorization));
}

std::string Sessions::open(std::string authorization) {
  return add(sessions_, std::move(authorization), clock_.steady() + kSessionLife);
}

std::string Sessions::authorization_of(std::string_view session) {
  const auto found = find(sessions_, session);
  if (found == sessions_.end()) return {};
  found->second.expires = clock_.steady() + kSessionLife;
  return found->second.authorization;
}

void Sessions::close(std::string_view session) {
  if (const auto found = find(sessions_, session); found != sessions_.end()) sessions_.erase(found);
}

std::string session_of(const Request& request) {
  std::string_view cookies = request.header("cookie");
  while (!cookies.empty()) {
    const auto end = cookies.find(';');
    auto item = cookies.substr(0, end);
    cookies = end == std::string_view::npos ? std::string_view{} : cookies.substr(end + 1);
    while (item.starts_with(' ')) item.remove_prefix(1);
    if (item.starts_with(kSessionCookie) && item.substr(kSessionCookie.size()).starts_with('='))
      return std::string(item.substr(kSessionCookie.size() + 1));
  }
  return {};
}

bool is_own_link(const Request& request) {
  return request.method == Method::get && request.header("sec-fetch-site") == "same-origin" &&
         request.header("sec-fetch-mode") == "navigate" && request.header("sec-fetch-dest") == "document";
}

}  // namespace fused
