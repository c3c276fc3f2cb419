// Sign-in of a browser for the pages at `/`. A session stands for a token and dies with it: each page asks the
// authenticator again. Of the API only a followed link of our own page counts as signed in (is_own_link): requests of
// scripts and of pages of other origins have nothing to ride on.
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "http/message.hpp"

namespace fused {

class Sessions {
 public:
  static constexpr std::chrono::minutes kCodeLife{10};
  static constexpr std::chrono::hours kSessionLife{12};  // since the last use
  static constexpr std::size_t kCountMax = 1'000;        // of each; beyond, the oldest goes

  explicit Sessions(const Clock& clock) : clock_(clock) {}

  // A code for the link that the start prints: good once. `authorization`: "Bearer <token>".
  std::string make_code(std::string authorization);
  // The session that the code opens, or nothing: unknown, used and expired alike.
  std::optional<std::string> redeem(std::string_view code);
  std::string open(std::string authorization);
  // "" when there is no such session.
  std::string authorization_of(std::string_view session);
  void close(std::string_view session);

 private:
  struct Entry {
    std::string authorization;
    SteadyTime expires;
  };
  using Entries = std::map<std::string, Entry, std::less<>>;  // by SHA-256 of the secret
  std::string add(Entries& entries, std::string authorization, SteadyTime expires);
  Entries::iterator find(Entries& entries, std::string_view secret);

  const Clock& clock_;
  Entries codes_;
  Entries sessions_;
};

inline constexpr std::string_view kSessionCookie = "fused_session";
// Of the request's cookies; "" without one.
std::string session_of(const Request& request);
// A person followed a link on a page of this server: GET, and the browser says by Sec-Fetch-* (which scripts cannot
// set) that the whole page is to become the answer. Function output has an origin of its own and never counts as ours.
bool is_own_link(const Request& request);

}  // namespace fused
