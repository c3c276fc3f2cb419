// The plain pages that the server carries in itself: what it serves, its API, and the way in.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <string_view>

#include "http/message.hpp"
#include "http/parts.hpp"

namespace fused {

// Of web/ and api/, put into the program by cmake/web.cmake.
namespace embedded {
extern const std::string_view index_html, sign_in_html, docs_html, openapi_yaml;
}

// GET /: version and functions for who is signed in (session cookie or token), else the sign-in page.
struct IndexPage {
  Parts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// GET /sign-in: the form, or with ?code= of the link that the start prints: opens a session and goes to /.
// POST /sign-in: the form's token.
struct SignIn {
  Parts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// POST /sign-out
struct SignOut {
  Parts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

// GET /docs and /openapi.yaml
struct DocsPage {
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct OpenApi {
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

}  // namespace fused
