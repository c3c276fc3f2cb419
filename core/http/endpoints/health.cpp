#include "http/endpoints/health.hpp"

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <boost/json/serialize.hpp>

#include "http/server_metrics.hpp"

namespace fused {
namespace asio = boost::asio;

asio::awaitable<Reply> Health::operator()(Request& request) const {
  boost::json::object health{{"status", "ok"}, {"version", parts.version}};
  // A share token's visitor is a stranger too.
  const bool trusted = request.actor.kind == ActorKind::user || request.actor.kind == ActorKind::run;
  if (trusted && parts.health)
    for (auto& [key, value] : parts.health()) health[key] = std::move(value);
  Reply reply = Reply::json(boost::json::serialize(health));
  reply.with("cache-control", "no-store");
  co_return reply;
}

asio::awaitable<Reply> Metrics::operator()(Request& request) const {
  if (!parts.metrics)
    co_return Reply::error({ErrorKind::not_found, "this server keeps no metrics", {}}, request.request_id);
  const prometheus::TextSerializer serializer;
  auto families = parts.metrics->Collect();
  if (parts.figures)
    for (auto& family : families_of(parts.figures())) families.push_back(std::move(family));
  Reply reply = Reply::text(serializer.Serialize(families), "text/plain; version=0.0.4; charset=utf-8");
  reply.with("cache-control", "no-store");
  co_return reply;
}

}  // namespace fused
