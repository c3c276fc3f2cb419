#include "http/endpoints/attempts.hpp"

#include <boost/json/serialize.hpp>

#include "base/json_parse.hpp"
#include "http/endpoints/query_number.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::int64_t kSmallBytes = 4 << 20;
constexpr std::int64_t kWaitMax = 30'000;
constexpr std::int64_t kHeadBytes = 64LL << 20;  // of a packed header: an error's text, a list of what was used

Reply refusal(const Error& error, const Request& request) { return Reply::error(error, request.request_id); }

Reply told(json::object object) { return Reply::json(json::serialize(object)).with("cache-control", "no-store"); }

Result<RemoteWorkers*> workers_of(const AttemptParts& parts) {
  if (!parts.workers)
    return fail(ErrorKind::conflict, "this server runs its jobs itself; --jobs ray lets a cluster run them");
  return parts.workers;
}

Result<json::object> object_of(std::string_view text) {
  auto value = FUSED_TRY(parse_json(text));
  if (!value.is_object()) return fail(ErrorKind::invalid_argument, "the body is not a JSON object");
  return std::move(value.get_object());
}

// Who is asked for, on whose behalf.
struct Asked {
  RemoteWorkers* workers = nullptr;
  std::string attempt;
  std::int64_t start = 0;  // 0: none was given
};
Result<Asked> asked_of(const AttemptParts& parts, const Request& request) {
  return Asked{FUSED_TRY(workers_of(parts)), request.path_values.at("attempt_id"),
               FUSED_TRY(whole_from_zero(request, "start", 0))};
}

struct Packed {
  json::object header;
  Bytes body;
};
Result<Packed> unpack(Request& request) {
  const auto body = std::make_shared<const Body>(std::move(request.body));
  const std::string_view all = body->view();
  std::uint32_t length = 0;
  if (all.size() >= 4)
    for (int i = 3; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(all[static_cast<std::size_t>(i)]);
  if (all.size() < 4 || length > all.size() - 4)
    return fail(ErrorKind::invalid_argument,
                "the body is not packed: four bytes that say how long the header is, the "
                "header as JSON, the body");
  return Packed{FUSED_TRY(object_of(all.substr(4, length))), Bytes{body, all.substr(4 + length)}};
}

std::string pack(std::string_view header, std::string_view body) {
  std::string out;
  out.reserve(4 + header.size() + body.size());
  for (int i = 0; i < 4; ++i) out += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return out.append(header).append(body);
}

std::string text(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

Result<RemoteWorkers::Usage> usage_of(const json::object& body) {
  RemoteWorkers::Usage usage;
  if (const auto* value = body.if_contains("memory_bytes"); value && value->is_int64())
    usage.memory_bytes = value->get_int64();
  if (const auto* value = body.if_contains("cpu_seconds"); value && value->is_number())
    usage.cpu_seconds = value->to_number<double>();
  return usage;
}

std::unordered_set<std::string> held_of(const json::object& body) {
  std::unordered_set<std::string> held;
  if (const auto* list = body.if_contains("held"); list && list->is_array())
    for (const json::value& each : list->get_array())
      if (each.is_string()) held.emplace(each.get_string());
  return held;
}

Result<bool> beat(const AttemptParts& parts, const Request& request) {
  const Asked of = FUSED_TRY(asked_of(parts, request));
  const json::object body = FUSED_TRY(object_of(request.body.view()));
  return of.workers->beat(of.attempt, of.start, FUSED_TRY(usage_of(body)));
}

Status output(const AttemptParts& parts, const Request& request) {
  const Asked of = FUSED_TRY(asked_of(parts, request));
  const std::int64_t stream = FUSED_TRY(whole_from_zero(request, "stream", 1));
  if (stream != 1 && stream != 2)
    return fail(ErrorKind::invalid_argument, "stream=" + std::to_string(stream) + "; it is 1 (stdout) or 2 (stderr)");
  const std::int64_t piece = FUSED_TRY(whole_from_zero(request, "piece", 0));
  return of.workers->output(of.attempt, of.start, static_cast<int>(stream), piece, request.body.view());
}

Status end(const AttemptParts& parts, Request& request) {
  const Asked of = FUSED_TRY(asked_of(parts, request));
  Packed packed = FUSED_TRY(unpack(request));
  if (of.start == 0)
    return of.workers->give_up(of.attempt, text(packed.header, "driver"), text(packed.header, "message"));
  return of.workers->end(of.attempt, of.start, packed.header, std::move(packed.body));
}

}  // namespace

asio::awaitable<Reply> TakeAttempts::operator()(Request& request) const {
  const auto workers = workers_of(parts);
  if (!workers) co_return refusal(workers.error(), request);
  const auto body = object_of(request.body.view());
  if (!body) co_return refusal(body.error(), request);
  const std::string driver = text(*body, "driver");
  if (driver.empty() || driver.size() > 100)
    co_return refusal({ErrorKind::invalid_argument, "'driver' is the name that the driver has given itself", {}},
                      request);
  const auto wait = whole_from_zero(request, "wait_ms", 0);
  if (!wait) co_return refusal(wait.error(), request);
  auto taken = co_await (*workers)->take(driver, held_of(*body), std::chrono::milliseconds(std::min(*wait, kWaitMax)));
  if (!taken) co_return refusal(taken.error(), request);
  co_return Reply::json(*std::move(taken)).with("cache-control", "no-store");
}

asio::awaitable<Reply> BeginAttempt::operator()(Request& request) const {
  const auto of = asked_of(parts, request);
  if (!of) co_return refusal(of.error(), request);
  const auto body = object_of(request.body.view());
  if (!body) co_return refusal(body.error(), request);
  const auto start = of->workers->begin(of->attempt, text(*body, "node"));
  if (!start) co_return refusal(start.error(), request);
  co_return told({{"start", *start}});
}

asio::awaitable<Reply> BeatAttempt::operator()(Request& request) const {
  const auto cancelled = beat(parts, request);
  if (!cancelled) co_return refusal(cancelled.error(), request);
  co_return told({{"cancelled", *cancelled}});
}

asio::awaitable<Reply> AttemptOutput::operator()(Request& request) const {
  const auto taken = output(parts, request);
  if (!taken) co_return refusal(taken.error(), request);
  co_return told({});
}

asio::awaitable<Reply> AttemptLimits::operator()(Request& request) const {
  const auto of = asked_of(parts, request);
  if (!of) co_return refusal(of.error(), request);
  const auto asked = object_of(request.body.view());
  if (!asked) co_return refusal(asked.error(), request);
  const auto limits = of->workers->limits(of->attempt, of->start, *asked);
  if (!limits) co_return refusal(limits.error(), request);
  co_return told(limits_json(*limits));
}

asio::awaitable<Reply> AttemptCall::operator()(Request& request) const {
  const auto of = asked_of(parts, request);
  if (!of) co_return refusal(of.error(), request);
  auto packed = unpack(request);
  if (!packed) co_return refusal(packed.error(), request);
  NestedCall call{0, std::move(packed->header), std::move(packed->body)};
  if (const auto* number = call.header.if_contains("call"); number && number->is_int64())
    call.call = static_cast<std::uint64_t>(number->get_int64());
  auto answer = co_await of->workers->call(of->attempt, of->start, std::move(call));
  if (!answer) co_return refusal(answer.error(), request);
  co_return Reply::text(pack(answer->header, answer->body.view), "application/octet-stream")
      .with("cache-control", "no-store");
}

asio::awaitable<Reply> EndAttempt::operator()(Request& request) const {
  const auto ended = end(parts, request);
  if (!ended) co_return refusal(ended.error(), request);
  co_return told({});
}

std::vector<Route> attempt_routes(AttemptParts& parts) {
  using enum Method;
  const std::string one = "/api/v1/attempts/{attempt_id}";
  return {
      {post, "/api/v1/attempts", Access::driver, TakeAttempts{parts}, "take_attempts", kSmallBytes},
      {post, one + "/begin", Access::driver, BeginAttempt{parts}, "begin_attempt", kSmallBytes},
      {post, one + "/beat", Access::driver, BeatAttempt{parts}, "beat_attempt", kSmallBytes},
      {post, one + "/output", Access::driver, AttemptOutput{parts}, "attempt_output", kSmallBytes},
      {post, one + "/limits", Access::driver, AttemptLimits{parts}, "attempt_limits", kSmallBytes},
      {post, one + "/call", Access::driver, AttemptCall{parts}, "attempt_call", parts.result_bytes_max + kHeadBytes},
      {post, one + "/end", Access::driver, EndAttempt{parts}, "end_attempt", parts.result_bytes_max + kHeadBytes}};
}

}  // namespace fused
