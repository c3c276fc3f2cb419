#include "http/endpoints/pages.hpp"

#include "http/security_headers.hpp"
#include "http/sessions.hpp"
#include "http/target.hpp"

namespace fused {
namespace asio = boost::asio;
namespace {

std::string html_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out.append("&amp;"); break;
      case '<': out.append("&lt;"); break;
      case '>': out.append("&gt;"); break;
      case '"': out.append("&quot;"); break;
      case '\'': out.append("&#39;"); break;
      default: out.push_back(c);
    }
  }
  return out;
}

// The page with the text between each pair of double braces replaced; values are HTML already.
std::string filled(std::string_view page, std::initializer_list<std::pair<std::string_view, std::string>> values) {
  std::string out;
  for (;;) {
    const auto open = page.find("{{");
    const auto close = page.find("}}", open);
    if (open == std::string_view::npos || close == std::string_view::npos) return out.append(page);
    out.append(page.substr(0, open));
    const auto name = page.substr(open + 2, close - open - 2);
    for (const auto& [known, value] : values)
      if (known == name) out.append(value);
    page.remove_prefix(close + 2);
  }
}

Reply page(std::string html, int status = 200) {
  Reply reply = Reply::text(std::move(html), "text/html; charset=utf-8", status);
  reply.with("cache-control", "no-store");
  add_page_policy(reply);
  return reply;
}

Reply sign_in_page(std::string_view problem, int status = 200) {
  const std::string note = problem.empty() ? "" : "<p class=\"problem\" role=\"alert\">" + html_text(problem) + "</p>";
  return page(filled(embedded::sign_in_html, {{"problem", note}}), status);
}

Reply go_to_index(std::string cookie) {
  Reply reply;
  reply.status = 303;
  reply.with("location", "/").with("cache-control", "no-store").with("set-cookie", std::move(cookie));
  return reply;
}

std::string session_cookie(std::string_view session) {
  return std::string(kSessionCookie) + "=" + std::string(session) + "; Path=/; HttpOnly; SameSite=Strict";
}

std::string text_of(const boost::json::object& row, std::string_view key) {
  const auto* value = row.if_contains(key);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

// Only paths of this server become links: a function's name or URL must not smuggle in another scheme.
std::string function_rows(const boost::json::array& functions) {
  std::string rows;
  for (const auto& item : functions) {
    if (!item.is_object()) continue;
    const auto& function = item.get_object();
    const auto url = text_of(function, "url");
    const bool local = url.starts_with('/') && !url.starts_with("//");
    const auto shown = html_text(text_of(function, "name"));
    rows.append("<tr><td>").append(local ? "<a href=\"" + html_text(url) + "\">" + shown + "</a>" : shown);
    rows.append("</td><td><code>").append(html_text(url)).append("</code></td><td>");
    rows.append(html_text(text_of(function, "description"))).append("</td></tr>\n");
  }
  if (rows.empty())
    rows = "<tr><td colspan=\"3\">None yet: save one with <code>fused udf push FILE</code>.</td></tr>\n";
  return rows;
}

}  // namespace

asio::awaitable<Reply> IndexPage::operator()(Request& request) const {
  Actor actor = request.actor;
  if (actor.is_nobody() && parts.sessions && parts.authenticate) {
    const auto authorization = parts.sessions->authorization_of(session_of(request));
    if (!authorization.empty()) actor = parts.authenticate(authorization);
  }
  if (actor.kind != ActorKind::user) co_return sign_in_page("");
  const auto functions = parts.list_functions ? parts.list_functions(actor) : boost::json::array{};
  co_return page(filled(embedded::index_html, {{"version", html_text(parts.version)},
                                               {"email", html_text(actor.email)},
                                               {"functions", function_rows(functions)}}));
}

asio::awaitable<Reply> SignIn::operator()(Request& request) const {
  if (!parts.sessions || !parts.authenticate)
    co_return Reply::error({ErrorKind::not_found, "this server has no pages to sign in to", {}}, request.request_id);
  if (request.method != Method::post) {
    const auto* code = request.query.find("code");
    if (!code) co_return sign_in_page("");
    const auto session = parts.sessions->redeem(*code);
    if (!session) co_return sign_in_page("This link has been used or is too old. Sign in with a token.", 403);
    co_return go_to_index(session_cookie(*session));
  }
  // The form's body has the syntax of a query.
  const auto form = parse_target(std::string("/?").append(request.body.view()));
  const std::string token = form ? form->query.value_or("token", "") : "";
  std::string authorization = "Bearer " + token;
  if (token.empty() || parts.authenticate(authorization).kind != ActorKind::user)
    co_return sign_in_page("This is not a token of an owner or member.", 403);
  co_return go_to_index(session_cookie(parts.sessions->open(std::move(authorization))));
}

asio::awaitable<Reply> SignOut::operator()(Request& request) const {
  if (parts.sessions) parts.sessions->close(session_of(request));
  co_return go_to_index(session_cookie("") + "; Max-Age=0");
}

asio::awaitable<Reply> DocsPage::operator()(Request&) const {
  Reply reply = page(std::string(embedded::docs_html));
  co_return reply;
}

asio::awaitable<Reply> OpenApi::operator()(Request&) const {
  Reply reply = Reply::text(std::string(embedded::openapi_yaml), "application/yaml");
  reply.with("cache-control", "no-cache");
  co_return reply;
}

}  // namespace fused
