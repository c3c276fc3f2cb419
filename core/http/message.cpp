#include "http/message.hpp"

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "base/text.hpp"

namespace fused {

std::string_view method_name(Method method) {
  switch (method) {
    case Method::get: return "GET";
    case Method::head: return "HEAD";
    case Method::post: return "POST";
    case Method::put: return "PUT";
    case Method::delete_: return "DELETE";
    case Method::options: return "OPTIONS";
    case Method::patch: return "PATCH";
  }
  return "GET";
}

const std::string* Query::find(std::string_view name) const {
  for (auto item = items.rbegin(); item != items.rend(); ++item)
    if (item->first == name) return &item->second;
  return nullptr;
}

std::string Query::value_or(std::string_view name, std::string_view fallback) const {
  const std::string* value = find(name);
  return value ? *value : std::string(fallback);
}

std::string_view Request::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers)
    if (name == lower_case_name) return value;
  return {};
}

Reply Reply::json(std::string text, int status) { return Reply::text(std::move(text), "application/json", status); }

Reply Reply::text(std::string body, std::string content_type, int status) {
  Reply reply;
  reply.status = status;
  reply.headers.reserve(4);
  reply.headers.emplace_back("content-type", std::move(content_type));
  reply.body = Bytes::of(std::move(body));
  return reply;
}

Reply Reply::error(const Error& error, std::string_view request_id) {
  boost::json::object shape;
  shape["error_type"] = error_type(error.kind);
  shape["message"] = valid_utf8(error.message);
  // The official client shows `detail` where it finds no `message`; what only helps us goes to the log, not to callers.
  shape["detail"] = valid_utf8(error.detail.empty() ? error.message : error.detail);
  shape["request_id"] = request_id;
  Reply reply = Reply::json(boost::json::serialize(shape), http_status(error.kind));
  reply.with("cache-control", "no-store");
  if (error.kind == ErrorKind::unauthenticated) reply.with("www-authenticate", "Bearer realm=\"fused\"");
  if (error.kind == ErrorKind::too_many_requests || error.kind == ErrorKind::unavailable)
    reply.with("retry-after", "1");
  return reply;
}

}  // namespace fused
