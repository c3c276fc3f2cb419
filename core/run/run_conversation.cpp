#include "run/run_conversation.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/json/serialize.hpp>

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

std::string text(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::int64_t now_ms() {
  return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string reply_header(std::uint64_t call, const NestedReply& reply) {
  json::object headers;
  for (const auto& [name, value] : reply.headers) headers[name] = value;
  return json::serialize(json::object{{"call", call}, {"status", reply.status}, {"headers", std::move(headers)}});
}

}  // namespace

Actor run_actor(const RunRequest& request) {
  Actor actor;
  actor.kind = ActorKind::run;
  actor.role = Role::member;
  actor.user_id = request.function->owner_id;
  actor.email = request.function->owner_email;
  actor.username = request.function->owner_username;
  actor.organisation = request.function->organisation;
  actor.recursion = request.recursion;
  actor.run_id = request.run_id;
  actor.share_token_id = request.actor.share_token_id;
  return actor;
}

RunConversation::RunConversation(asio::io_context& io, const RunRequest& request, std::shared_ptr<RunTicket> ticket,
                                 NestedHandler& nested)
    : out(request.limits.stream_bytes),
      err(request.limits.stream_bytes),
      io_(io),
      stream_bytes_(request.limits.stream_bytes),
      actor_(run_actor(request)),
      ticket_(std::move(ticket)),
      nested_(nested) {}

void RunConversation::started(int, std::int64_t pid) {
  if (on_started) on_started(pid);
}

void RunConversation::output(int stream, std::string_view bytes) {
  (stream == 1 ? out : err).feed(bytes);
  if (lines && !lines_are_closed_) lines->feed(stream, bytes, now_ms());
  if (on_output) on_output(stream, bytes);
}

void RunConversation::call(NestedCall call, std::function<void(std::string, std::string_view)> answer) {
  NestedRequest request{
      text(call.header, "method"), text(call.header, "target"), {}, std::string(call.body.view), actor_, {}};
  if (const auto* headers = call.header.if_contains("headers"); headers && headers->is_object())
    for (const auto& header : headers->get_object())
      if (header.value().is_string()) request.headers.emplace_back(header.key(), header.value().get_string());
  const auto self = shared_from_this();
  request.on_end = [self](std::function<void()> end) { self->on_end_.push_back(std::move(end)); };
  ticket_->begin_nested();
  asio::co_spawn(
      io_,
      [self, number = call.call, request = std::move(request),
       answer = std::move(answer)]() mutable -> asio::awaitable<void> {
        NestedReply reply{
            503,
            {{"content-type", "application/json"}},
            Bytes::of(
                R"({"error_type":"unavailable","message":"this server answers no requests of functions","detail":"","request_id":""})")};
        if (self->nested_) reply = co_await self->nested_(std::move(request));
        self->ticket_->end_nested();
        if (!self->over_) answer(reply_header(number, reply), reply.body.view);
      },
      asio::detached);
}

void RunConversation::keep_lines() {
  if (lines) return;
  lines = std::make_unique<RunLines>(stream_bytes_);
  lines->feed(1, out.render(), now_ms());
  lines->feed(2, err.render(), now_ms());
}

void RunConversation::asked(const json::object& wishes) { asks_for_job_ = text(wishes, "on_timeout") == "job"; }

void RunConversation::over() {
  over_ = true;
  if (lines && !lines_are_closed_) lines->end(now_ms());
  for (const auto& end : std::exchange(on_end_, {})) end();
}

}  // namespace fused
