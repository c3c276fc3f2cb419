#include "http/dispatcher.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <exception>

#include "base/completion.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "http/access_log.hpp"
#include "http/compression.hpp"
#include "http/conditional.hpp"
#include "http/request_id.hpp"
#include "http/sessions.hpp"
#include "http/target.hpp"

namespace fused {
namespace asio = boost::asio;
namespace {

const std::string* find_header(const Reply& reply, std::string_view name) {
  for (const auto& header : reply.headers)
    if (header.first == name) return &header.second;
  return nullptr;
}

std::string allow_header(const std::vector<Method>& methods) {
  std::string allow;
  const auto add = [&](std::string_view name) {
    if (allow.find(name) == std::string::npos) allow.append(allow.empty() ? "" : ", ").append(name);
  };
  for (const auto method : methods) {
    add(method_name(method));
    if (method == Method::get) add("HEAD");
  }
  add("OPTIONS");
  return allow;
}

bool asks_nothing(const Request& request) { return request.method == Method::get || request.method == Method::head; }

}  // namespace

Dispatcher::Dispatcher(Parts& parts, std::vector<Route> routes) : parts_(parts), router_(std::move(routes)) {
  if (parts.metrics) metrics_ = std::make_unique<HttpMetrics>(*parts.metrics, router_.routes());
}
Dispatcher::~Dispatcher() = default;

Dispatcher::Admission Dispatcher::refuse(const Request& request, Admission admission, const Error& error) const {
  admission.route = nullptr;
  admission.route_index = router_.routes().size();
  admission.refusal = Reply::error(error, request.request_id);
  add_cors_headers(admission.cors, *admission.refusal);
  return admission;
}

void Dispatcher::name_request(Request& request) const {
  const auto asked = request.header("x-request-id");
  request.request_id = is_request_id(asked) ? std::string(asked) : new_request_id();
  // An invalid traceparent is as good as none; it is not handed on.
  std::erase_if(request.headers,
                [](const auto& header) { return header.first == "traceparent" && !is_traceparent(header.second); });
}

Result<void> Dispatcher::route(Request& request, std::string_view raw_path, Admission& admission) const {
  auto match = router_.match(request.method, raw_path);
  admission.route_index = router_.routes().size();
  if (match.outcome == Router::Outcome::not_found)
    return fail(ErrorKind::not_found, "there is nothing at '" + printable(redacted(request.path.substr(0, 200))) +
                                          "'; /docs lists what there is");
  if (match.outcome == Router::Outcome::method_not_allowed) {
    const auto allow = allow_header(match.allowed);
    Reply reply;
    if (request.method == Method::options) {
      reply.status = 204;
    } else {
      reply = Reply::error({ErrorKind::method_not_allowed,
                            std::string(method_name(request.method)) + " is not answered here; " + allow + " are",
                            {}},
                           request.request_id);
    }
    reply.with("allow", allow);
    admission.refusal = std::move(reply);
    return {};
  }
  admission.route = match.route;
  admission.route_index = match.index;
  request.path_values = std::move(match.values);
  return {};
}

Dispatcher::Admission Dispatcher::admit(Request& request) {
  Admission admission;
  admission.route_index = router_.routes().size();
  name_request(request);
  const Settings& settings = *parts_.settings;
  const auto host = request.header("host");
  if (host.empty() || host != good_host_) {
    if (const auto good = check_host(host, settings); !good) return refuse(request, std::move(admission), good.error());
    good_host_ = host;
  }
  if (request.target == "*" && request.method == Method::options) {
    admission.refusal.emplace().status = 204;
    return admission;
  }
  auto target = parse_target(request.target);
  if (!target) return refuse(request, std::move(admission), target.error());
  if (!target->authority.empty() && target->authority != host)
    return refuse(request, std::move(admission),
                  {ErrorKind::invalid_argument, "the URL's host and the header Host are not the same", {}});
  request.path = std::move(target->path);
  request.query = std::move(target->query);
  auto cors = check_origin(request, target->raw_path, settings);
  if (!cors) return refuse(request, std::move(admission), cors.error());
  admission.cors = *cors;
  if (request.method == Method::options && !request.header("access-control-request-method").empty()) {
    admission.refusal = preflight(request, admission.cors);
    add_cors_headers(admission.cors, *admission.refusal);
    return admission;
  }
  if (const auto routed = route(request, target->raw_path, admission); !routed)
    return refuse(request, std::move(admission), routed.error());
  if (admission.refusal) {
    add_cors_headers(admission.cors, *admission.refusal);
    return admission;
  }
  if (const auto authorization = request.header("authorization"); !authorization.empty() && parts_.authenticate)
    request.actor = parts_.authenticate(authorization);
  else if (parts_.sessions && parts_.authenticate && is_own_link(request))
    request.actor = parts_.authenticate(parts_.sessions->authorization_of(session_of(request)));
  if (const auto may = check_access(admission.route->access, request.actor); !may) {
    const auto index = admission.route_index;
    admission = refuse(request, std::move(admission), may.error());
    admission.route_index = index;
  }
  return admission;
}

asio::awaitable<Reply> Dispatcher::call(const Route& route, Request& request) {
  std::string what;
  try {
    co_return co_await route.handler(request);
  } catch (const std::exception& exception) {
    what = exception.what();
  }
  log_event(spdlog::level::err, "handler failed",
            {{"operation", route.operation_id}, {"request_id", request.request_id}, {"what", what}});
  co_return Reply::error({ErrorKind::internal,
                          "the server failed at this request; its log has more under request id " + request.request_id,
                          {}},
                         request.request_id);
}

// True where the reply has become a 304.
bool Dispatcher::make_conditional(const Request& request, Reply& reply) const {
  if (reply.status != 200 || !asks_nothing(request)) return false;
  const std::string* given = find_header(reply, "etag");
  if (!given) {
    const std::string* cache = find_header(reply, "cache-control");
    if (reply.body.view.size() > kEtagBytesMax || (cache && cache->find("no-store") != std::string::npos)) return false;
    reply.with("etag", etag_of(reply.body.view));
    given = &reply.headers.back().second;
  }
  const auto wanted = request.header("if-none-match");
  if (wanted.empty() || given->size() < 3 || !none_match_hits(wanted, *given)) return false;
  reply.status = 304;
  reply.body = {};
  std::erase_if(reply.headers, [](const auto& header) { return header.first == "content-type"; });
  return true;
}

asio::awaitable<void> Dispatcher::compress_reply(const Request& request, Reply& reply) {
  const auto size = reply.body.view.size();
  if (size < kCompressBytesMin || size > kCompressBytesMax) co_return;
  const std::string* type = find_header(reply, "content-type");
  if (!type || !is_compressible(*type) || find_header(reply, "content-encoding")) co_return;
  reply.with("vary", "Accept-Encoding");
  const auto coding = negotiate(request.header("accept-encoding"));
  if (!coding) co_return;
  std::optional<std::string> smaller;
  if (size <= kCompressInPlaceBytesMax) {
    smaller = compress(reply.body.view, *coding);
  } else {
    if (!helper_) helper_ = std::make_unique<asio::thread_pool>(1);
    const auto executor = co_await asio::this_coro::executor;
    // On the heap and shared: the waiter may be destroyed with its io_context while the helper still works.
    auto done = std::make_shared<Completion<bool>>();
    auto result = std::make_shared<std::optional<std::string>>();
    asio::post(*helper_, [executor, done, result, body = reply.body, coding = *coding] {
      *result = compress(body.view, coding);
      asio::post(executor, [done] { done->set(true); });
    });
    co_await done->wait();
    smaller = std::move(*result);
  }
  if (!smaller) co_return;
  reply.body = Bytes::of(std::move(*smaller));
  reply.with("content-encoding", std::string(coding_name(*coding)));
  for (auto& [name, value] : reply.headers)
    if (name == "etag" && value.size() > 2) value = etag_with_coding(value, coding_name(*coding));
}

asio::awaitable<Reply> Dispatcher::answer(Request& request, Admission& admission) {
  if (admission.refusal) co_return std::move(*admission.refusal);
  const std::int64_t body_bytes_max =
      admission.route->body_bytes_max > 0 ? admission.route->body_bytes_max : parts_.settings->body_bytes_max;
  if (static_cast<std::int64_t>(request.body.size()) > body_bytes_max)
    co_return Reply::error({ErrorKind::too_large,
                            "the body has " + std::to_string(request.body.size()) + " bytes; the limit is " +
                                std::to_string(body_bytes_max),
                            {}},
                           request.request_id);
  Reply reply = co_await call(*admission.route, request);
  for (auto& header : reply.headers)
    for (char& c : header.first)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  if (!make_conditional(request, reply)) co_await compress_reply(request, reply);
  add_cors_headers(admission.cors, reply);
  co_return reply;
}

asio::awaitable<Reply> Dispatcher::answer_call(Request& request) {
  name_request(request);
  Admission admission;
  auto target = parse_target(request.target);
  if (!target) co_return Reply::error(target.error(), request.request_id);
  request.path = std::move(target->path);
  request.query = std::move(target->query);
  if (const auto routed = route(request, target->raw_path, admission); !routed)
    co_return Reply::error(routed.error(), request.request_id);
  if (admission.refusal) co_return std::move(*admission.refusal);
  if (const auto may = check_access(admission.route->access, request.actor); !may)
    co_return Reply::error(may.error(), request.request_id);
  co_return co_await call(*admission.route, request);
}

void Dispatcher::record(const Request& request, const Admission& admission, int status, std::size_t bytes_sent,
                        double seconds) {
  if (metrics_) metrics_->count(admission.route_index, status, seconds, request.body.size(), bytes_sent);
  log_access(request, status, bytes_sent, seconds);
}

}  // namespace fused
