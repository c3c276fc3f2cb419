#include "http/endpoints/batches.hpp"

#include <boost/json/serialize.hpp>
#include <optional>

#include "base/ids.hpp"
#include "base/json_parse.hpp"
#include "http/endpoints/query_number.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::int64_t kWorkersMax = 1'024;
constexpr std::int64_t kRetriesMax = 1'000;
constexpr std::int64_t kWaitMax = 30'000;
constexpr std::int64_t kOpenBytes = 16 << 20;
constexpr std::int64_t kSmallBytes = 16 << 20;
constexpr std::size_t kReadAtOnceBytes = 64 << 10;  // of a list of calls; beyond it a thread beside the loop reads it

Reply refusal(const Error& error, const Request& request) {
  Reply reply = Reply::error(error, request.request_id);
  if (error.kind == ErrorKind::too_many_requests) reply.with("retry-after", "1");
  return reply;
}

Result<std::shared_ptr<Batch>> batch_of(const BatchParts& parts, const Request& request) {
  return parts.batches->find(request.path_values.at("batch_id"), request.actor);
}

Result<std::int64_t> whole(const json::object& body, std::string_view name, std::int64_t fallback, std::int64_t least,
                           std::int64_t most) {
  const auto* value = body.if_contains(name);
  if (!value || value->is_null()) return fallback;
  if (!value->is_int64() || value->get_int64() < least || value->get_int64() > most)
    return fail(ErrorKind::invalid_argument, "'" + std::string(name) + "' is " + json::serialize(*value).substr(0, 60) +
                                                 "; it is a whole number from " + std::to_string(least) + " to " +
                                                 std::to_string(most));
  return value->get_int64();
}

Result<BatchWish> wish_of(const json::object& body) {
  BatchWish wish;
  wish.max_workers = static_cast<int>(FUSED_TRY(whole(body, "max_workers", wish.max_workers, 1, kWorkersMax)));
  wish.max_retry = static_cast<int>(FUSED_TRY(whole(body, "max_retry", wish.max_retry, 0, kRetriesMax)));
  const auto* every = body.if_contains("retries_failures");
  if (every && !every->is_bool())
    return fail(ErrorKind::invalid_argument, "'retries_failures' is " + json::serialize(*every).substr(0, 60) +
                                                 "; it is true (every failure) or false");
  wish.retries_failures = every && every->get_bool();
  return wish;
}

std::string state_of(const Batch& batch, std::uint64_t cursor) {
  const BatchCounts& counts = batch.counts();
  json::array running;
  for (const auto& [first, count] : batch.running()) running.push_back(json::array{first, count});
  return json::serialize(json::object{{"cursor", cursor},
                                      {"taken", counts.taken},
                                      {"finished", counts.finished},
                                      {"waiting", counts.waiting},
                                      {"room_bytes", batch.room_bytes()},
                                      {"running", std::move(running)}});
}

// Nothing: all.
Result<std::optional<std::vector<std::uint32_t>>> calls_to_cancel(std::string_view text) {
  if (text.empty()) return std::nullopt;
  const auto body = parse_json(text);
  if (!body || !body->is_object())
    return fail(ErrorKind::invalid_argument, "the body is a JSON object: {} for all calls, or {\"calls\": [0, 7]}");
  const auto* calls = body->get_object().if_contains("calls");
  if (!calls || calls->is_null()) return std::nullopt;
  std::vector<std::uint32_t> indexes;
  bool sound = calls->is_array();
  if (sound)
    for (const auto& index : calls->get_array()) {
      sound = index.is_int64() && index.get_int64() >= 0 && index.get_int64() < ArgumentPiece::kCallIndexMax;
      if (!sound) break;
      indexes.push_back(static_cast<std::uint32_t>(index.get_int64()));
    }
  if (!sound) return fail(ErrorKind::invalid_argument, "'calls' is a list of positions of calls, as [0, 7]");
  return indexes;
}

Reply told(const Batch& batch, std::uint64_t cursor) {
  return Reply::json(state_of(batch, cursor)).with("cache-control", "no-store");
}

}  // namespace

asio::awaitable<Reply> OpenBatch::operator()(Request& request) const {
  const auto body = parse_json(request.body.view());
  if (!body || !body->is_object())
    co_return refusal({ErrorKind::invalid_argument,
                       "the body is not a JSON object" + (body ? std::string() : ": " + body.error().message),
                       {}},
                      request);
  auto wish = wish_of(body->get_object());
  if (!wish) co_return refusal(wish.error(), request);
  auto run = ad_hoc_request(*parts.run, request);
  if (!run) co_return refusal(run.error(), request);
  run->limits = parts.run->limits;
  run->caller = run->actor.user_id;
  // One that was sent twice, because its answer was lost, opens two: the first is closed when nobody asks for it.
  run->run_id = run->folder_id = new_uuid();
  auto opened = co_await parts.batches->open(std::move(*run), *wish);
  if (!opened) co_return refusal(opened.error(), request);
  const std::shared_ptr<Batch> batch = *opened;
  if (request.actor.kind == ActorKind::run && request.on_disconnect)
    request.on_disconnect([batches = parts.batches, weak = std::weak_ptr<Batch>(batch)] {
      const auto batch = weak.lock();
      if (!batch) return;
      batch->cancel();
      batches->close(batch);
    });
  co_return Reply::json(json::serialize(json::object{{"batch_id", batch->id()},
                                                     {"log_dir", parts.batches->log_dir(*batch)},
                                                     {"room_bytes", batch->room_bytes()},
                                                     {"idle_seconds", parts.batches->idle().count()}}),
                        201);
}

asio::awaitable<Reply> TakeCalls::operator()(Request& request) const {
  auto batch = batch_of(parts, request);
  if (!batch) co_return refusal(batch.error(), request);
  const auto body = std::make_shared<const Body>(std::move(request.body));
  auto piece = co_await parts.batches->read(body, body->view());
  if (!piece) co_return refusal(piece.error(), request);
  const Status taken = co_await (*batch)->take(*std::move(piece));
  if (!taken) co_return refusal(taken.error(), request);
  co_return told(**batch, 0);
}

asio::awaitable<Reply> BatchResultsOf::operator()(Request& request) const {
  auto batch = batch_of(parts, request);
  if (!batch) co_return refusal(batch.error(), request);
  const auto after = whole_from_zero(request, "after", 0);
  if (!after) co_return refusal(after.error(), request);
  const auto wait = whole_from_zero(request, "wait_ms", 0);
  if (!wait) co_return refusal(wait.error(), request);
  auto answer = co_await (*batch)->results(static_cast<std::uint64_t>(*after),
                                           std::chrono::milliseconds(std::min(*wait, kWaitMax)));
  if (!answer) co_return refusal(answer.error(), request);
  Reply reply;
  reply.with("content-type", "application/vnd.fused.calls");
  reply.with("cache-control", "no-store");
  reply.with("x-fused-batch", state_of(**batch, answer->cursor));
  reply.body = std::move(answer->bytes);
  co_return reply;
}

asio::awaitable<Reply> CancelBatch::operator()(Request& request) const {
  auto batch = batch_of(parts, request);
  if (!batch) co_return refusal(batch.error(), request);
  const auto body = std::make_shared<const Body>(std::move(request.body));
  auto read = [body] { return calls_to_cancel(body->view()); };
  auto calls = Result<std::optional<std::vector<std::uint32_t>>>(std::nullopt);
  if (body->view().size() <= kReadAtOnceBytes)
    calls = read();
  else
    calls = co_await parts.batches->beside(std::move(read));
  if (!calls) co_return refusal(calls.error(), request);
  if (*calls)
    (*batch)->cancel(**std::move(calls));
  else
    (*batch)->cancel();
  co_return told(**batch, 0);
}

asio::awaitable<Reply> CloseBatch::operator()(Request& request) const {
  auto batch = batch_of(parts, request);
  if (!batch) co_return refusal(batch.error(), request);
  parts.batches->close(*batch);
  if (const auto after = whole_from_zero(request, "after", 0); after && *after > 0)
    (*batch)->results().acknowledge(static_cast<std::uint64_t>(*after));
  co_return told(**batch, 0);
}

std::vector<Route> batch_routes(BatchParts& parts) {
  using enum Method;
  const std::string one = "/api/v1/batches/{batch_id}";
  return {{post, "/api/v1/batches", Access::run_or_user, OpenBatch{parts}, "open_batch", kOpenBytes},
          {post, one + "/calls", Access::run_or_user, TakeCalls{parts}, "batch_calls"},
          {get, one + "/results", Access::run_or_user, BatchResultsOf{parts}, "batch_results"},
          {post, one + "/cancel", Access::run_or_user, CancelBatch{parts}, "cancel_batch", kSmallBytes},
          {post, one + "/close", Access::run_or_user, CloseBatch{parts}, "close_batch", kSmallBytes}};
}

}  // namespace fused
