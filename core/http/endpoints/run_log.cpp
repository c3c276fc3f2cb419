#include "http/endpoints/run_log.hpp"

#include <boost/json/serialize.hpp>
#include <charconv>

#include "base/ids.hpp"
#include "base/text.hpp"
#include "http/endpoints/run_reply.hpp"
#include "logs/json_text.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::size_t kPieceBytes = 256 << 10;
constexpr std::size_t kLinesMax = 10'000;  // of one answer
// A comment is sent so often where nothing else is: proxies close what is silent, and a peer that is gone is noticed.
constexpr auto kSilence = std::chrono::seconds(15);

Result<std::uint64_t> number_of(std::string_view name, std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size())
    return fail(ErrorKind::invalid_argument, "'" + std::string(name) + "' is '" + printable(text.substr(0, 40)) +
                                                 "'; it must be a whole number from 0 on");
  return number;
}

Result<RunRegistry::Reader> reader_of(const RunParts& parts, const Request& request) {
  const auto value = [&request](std::string_view name) {
    const auto found = request.path_values.find(name);
    return found == request.path_values.end() ? std::string() : found->second;
  };
  Actor actor = request.actor;
  if (const std::string token = value("token"); !token.empty())
    actor = FUSED_TRY(parts.functions.by_share_token(token, request.actor)).actor;
  const std::string run_id = value("run_id");
  if (!is_uuid(run_id))
    return fail(ErrorKind::not_found, "'" + printable(run_id.substr(0, 60)) + "' is not the id of a run: a UUID");
  auto reader = parts.registry->reader(run_id, actor);
  if (!reader.is_known())
    return fail(ErrorKind::not_found,
                "run '" + run_id +
                    "' is unknown, ended more than 60 s ago, or is not yours; only runs that were begun "
                    "with a Fused-Run-Id can be followed (`fused logs` shows every run that has ended)");
  return reader;
}

// How the run ended; null while it goes on.
json::value end_of(const Result<RunOutcome>* ended) {
  if (ended == nullptr) return nullptr;
  if (!*ended) return json::object{{"outcome", "refused"}, {"message", ended->error().message}};
  const RunOutcome& outcome = **ended;
  json::object end{{"outcome", outcome.outcome},
                   {"run_id", outcome.run_id},
                   {"status", outcome.status},
                   {"execution_time_seconds", outcome.execution_seconds}};
  const bool is_stored =
      std::ranges::any_of(outcome.cache_headers, [](const auto& header) { return header.first == "x-fused-cached"; });
  end["cached"] = is_stored;
  if (outcome.is_promoted()) end["job_id"] = outcome.job_id;
  if (!outcome.ok()) {
    end["error_class"] = outcome.error_class;
    end["message"] = outcome.error_message;
  }
  return end;
}

std::string gap_text(std::uint64_t left_out) {
  return std::to_string(left_out) + " lines are not kept any more: the first and the last ones are";
}

struct Following {
  RunRegistry::Reader reader;
  std::uint64_t from = 0;
  std::optional<std::int64_t> since_ms;  // of the first look
  bool follow = true;
  bool over = false;
};

std::string events_of(Following& f) {
  const RunLines* lines = f.reader.lines();
  if (lines == nullptr) return {};
  if (f.since_ms) f.from = std::max(f.from, lines->number_since(*std::exchange(f.since_ms, std::nullopt)));
  const RunLines::Part part = lines->read(f.from, kPieceBytes, kLinesMax);
  std::string events;
  if (part.left_out > 0)
    events += "event: gap\ndata: " +
              json::serialize(json::object{{"left_out", part.left_out}, {"message", gap_text(part.left_out)}}) + "\n\n";
  for (const auto& [number, line] : part.lines)
    events += "id: " + std::to_string(number) + "\nevent: log\ndata: " + json_of(*line) + "\n\n";
  f.from = part.next;
  return events;
}

asio::awaitable<std::string> next_events(std::shared_ptr<Following> f) {
  if (f->over) co_return std::string();
  const auto deadline = std::chrono::steady_clock::now() + kSilence;
  for (;;) {
    if (std::string events = events_of(*f); !events.empty()) co_return events;
    const Result<RunOutcome>* ended = f->reader.outcome();
    if (ended != nullptr || !f->reader.is_known()) {
      f->over = true;
      co_return "event: end\ndata: " + json::serialize(end_of(ended)) + "\n\n";
    }
    f->over = !f->follow || f->reader.is_abandoned();
    if (f->over) co_return std::string();
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline) co_return ": nothing new\n\n";
    co_await f->reader.wait(f->from, std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now));
  }
}

Status take_since_ms(const Request& request, std::optional<std::int64_t>& since_ms) {
  const std::string* text = request.query.find("since_ms");
  if (text == nullptr || text->empty()) return {};
  since_ms = static_cast<std::int64_t>(FUSED_TRY(number_of("since_ms", *text)));
  return {};
}

Result<std::shared_ptr<Following>> following_of(const RunParts& parts, const Request& request) {
  auto following = std::make_shared<Following>(FUSED_TRY(reader_of(parts, request)));
  const std::string follow = request.query.value_or("follow", "true");
  if (follow != "true" && follow != "false") return fail(ErrorKind::invalid_argument, "'follow' must be true or false");
  following->follow = follow == "true" && request.actor.kind != ActorKind::run;
  if (const std::string_view last = request.header("last-event-id"); !last.empty())
    following->from = FUSED_TRY(number_of("Last-Event-ID", last));
  else
    FUSED_CHECK(take_since_ms(request, following->since_ms));
  return following;
}

}  // namespace

asio::awaitable<Reply> FollowRunLog::operator()(Request& request) const {
  auto found = following_of(parts, request);
  if (!found) co_return run_refusal(found.error(), request);
  const std::shared_ptr<Following> following = *std::move(found);
  Reply reply;
  reply.with("content-type", "text/event-stream; charset=utf-8").with("cache-control", "no-store");
  reply.with("x-accel-buffering", "no");
  if (request.actor.kind != ActorKind::run) {
    reply.next_piece = [following]() -> asio::awaitable<std::string> { return next_events(following); };
    co_return reply;
  }
  // A function's channel carries whole replies: what there is.
  std::string all;
  for (std::string piece = co_await next_events(following); !piece.empty(); piece = co_await next_events(following))
    all += piece;
  reply.body = Bytes::of(std::move(all));
  co_return reply;
}

asio::awaitable<Reply> GetRunLines::operator()(Request& request) const {
  const auto read = [this, &request]() -> Result<std::string> {
    const RunRegistry::Reader reader = FUSED_TRY(reader_of(parts, request));
    std::uint64_t from = FUSED_TRY(number_of("since", request.query.value_or("since", "0")));
    const std::uint64_t limit = FUSED_TRY(number_of("limit", request.query.value_or("limit", "1000")));
    if (limit < 1 || limit > kLinesMax)
      return fail(ErrorKind::invalid_argument,
                  "'limit' is " + std::to_string(limit) + "; it may be 1 to " + std::to_string(kLinesMax));
    std::optional<std::int64_t> since_ms;
    FUSED_CHECK(take_since_ms(request, since_ms));
    RunLines::Part part{{}, from, 0};
    if (const RunLines* lines = reader.lines()) {
      if (since_ms) from = std::max(from, lines->number_since(*since_ms));
      part = lines->read(from, kPieceBytes, limit);
    }
    std::string text = "{\"lines\":[";
    for (const auto& [number, line] : part.lines) text += (text.back() == '[' ? "" : ",") + json_of(*line);
    text += "],\"next\":" + std::to_string(part.next) + ",\"left_out\":" + std::to_string(part.left_out);
    const RunLines* lines = reader.lines();
    const bool all = lines == nullptr || part.next >= lines->total();
    return text + ",\"end\":" + json::serialize(all ? end_of(reader.outcome()) : json::value(nullptr)) + '}';
  };
  auto text = read();
  if (!text) co_return run_refusal(text.error(), request);
  co_return Reply::json(*std::move(text)).with("cache-control", "no-store");
}

std::vector<Route> run_log_routes(RunParts& parts) {
  using enum Method;
  const std::string own = "/api/v1/runs/{run_id}";
  const std::string shared = "/server/v1/realtime-shared/{token}/runs/{run_id}";
  return {
      {get, own + "/logs", Access::run_or_user, FollowRunLog{parts}, "follow_run_log"},
      {get, own + "/lines", Access::run_or_user, GetRunLines{parts}, "get_run_lines"},
      {get, shared + "/logs", Access::share_path, FollowRunLog{parts}, "follow_shared_run_log"},
      {get, shared + "/lines", Access::share_path, GetRunLines{parts}, "get_shared_run_lines"},
  };
}

}  // namespace fused
