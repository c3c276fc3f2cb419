// The log of a job: whole, for polling clients, and as Server-Sent Events.
#include <algorithm>
#include <boost/json/serialize.hpp>
#include <charconv>

#include "base/text.hpp"
#include "http/endpoints/jobs.hpp"
#include "http/endpoints/state_parts.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::size_t kWholeBytesMax = 64 << 20;  // more than a log can hold
constexpr std::size_t kPieceBytes = 256 << 10;
// A comment is sent so often where nothing else is: proxies close what is silent, and a peer that is gone is noticed.
constexpr auto kSilence = std::chrono::seconds(15);

Result<std::int64_t> number_of(std::string_view name, std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < 0)
    return fail(ErrorKind::invalid_argument, "'" + std::string(name) + "' is '" + printable(text.substr(0, 40)) +
                                                 "'; it must be a whole number from 0 on");
  return number;
}

// Where `since_ms` begins in the log; 0 where it is not given.
asio::awaitable<Result<std::int64_t>> place_since(const JobParts& parts, const Request& request, std::string job_id) {
  const std::string* text = request.query.find("since_ms");
  if (text == nullptr || text->empty()) co_return 0;
  const auto since = number_of("since_ms", *text);
  if (!since) co_return std::unexpected(since.error());
  co_return co_await parts.jobs->logs().place_of(std::move(job_id), *since);
}

std::string events_of(const JobLogs::Part& part, std::int64_t from) {
  // The id is the place behind the line. Lines that a kill has torn are left out, so the last one bears the true end.
  std::string events;
  events.reserve(part.lines.size() * 5 / 4);
  std::int64_t place = from;
  std::string_view rest = part.lines;
  while (!rest.empty()) {
    const std::size_t feed = rest.find('\n');
    const std::string_view line = rest.substr(0, feed);
    rest.remove_prefix(feed + 1);
    place = rest.empty() ? part.end : place + static_cast<std::int64_t>(line.size()) + 1;
    events += "id: " + std::to_string(place) + "\nevent: log\ndata: ";
    events += line;
    events += "\n\n";
  }
  return events;
}

struct Following {
  JobService& jobs;
  Actor actor;
  std::string job_id;
  std::int64_t from = 0;
  bool follow = true;
  bool over = false;
};

asio::awaitable<std::string> next_events(std::shared_ptr<Following> f) {
  if (f->over) co_return std::string();
  const auto deadline = std::chrono::steady_clock::now() + kSilence;
  for (;;) {
    // In this order: what came before the end is read before the end is told.
    const std::uint64_t ends = f->jobs.logs().ends();
    const auto job = co_await f->jobs.find(f->actor, f->job_id);
    const JobLogs::Part part = co_await f->jobs.logs().read(f->job_id, f->from, kPieceBytes);
    if (part.end > f->from) {
      std::string events = events_of(part, f->from);
      f->from = part.end;
      if (!events.empty()) co_return events;
      continue;
    }
    if (!job || is_terminal(job->row.state) || !f->follow || f->jobs.is_stopping()) {
      f->over = true;
      if (!job) co_return "event: end\ndata: null\n\n";
      if (!f->follow && !is_terminal(job->row.state)) co_return std::string();
      if (f->jobs.is_stopping() && !is_terminal(job->row.state)) co_return std::string();
      co_return "event: end\ndata: " + json::serialize(job_record(*job)) + "\n\n";
    }
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline) co_return ": nothing new\n\n";
    co_await f->jobs.logs().wait(f->job_id, f->from, ends,
                                 std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now));
  }
}

}  // namespace

std::string array_of_lines(std::string_view lines) {
  std::string array = "[";
  array.reserve(lines.size() + 2);
  array += lines;
  std::replace(array.begin(), array.end(), '\n', ',');
  if (array.ends_with(',')) array.pop_back();
  return array + ']';
}

asio::awaitable<Reply> GetJobLogs::operator()(Request& request) const {
  const auto job = co_await parts.jobs->find(request.actor, path_value_of(request, "job_id"));
  if (!job) co_return error_reply(job.error(), request);
  const auto from = co_await place_since(parts, request, job->row.spec.id);
  if (!from) co_return error_reply(from.error(), request);
  const JobLogs::Part part = co_await parts.jobs->logs().read(job->row.spec.id, *from, kWholeBytesMax);
  co_return Reply::json(array_of_lines(part.lines)).with("cache-control", "no-store");
}

asio::awaitable<Reply> FollowJobLog::operator()(Request& request) const {
  const auto job = co_await parts.jobs->find(request.actor, path_value_of(request, "job_id"));
  if (!job) co_return error_reply(job.error(), request);
  auto following = std::make_shared<Following>(*parts.jobs, request.actor, job->row.spec.id);
  const std::string follow = request.query.value_or("follow", "true");
  if (follow != "true" && follow != "false")
    co_return error_reply({ErrorKind::invalid_argument, "'follow' must be true or false", {}}, request);
  following->follow = follow == "true";
  const std::string last(request.header("last-event-id"));
  if (!last.empty()) {
    const auto place = number_of("Last-Event-ID", last);
    if (!place) co_return error_reply(place.error(), request);
    following->from = *place;
  } else {
    const auto place = co_await place_since(parts, request, following->job_id);
    if (!place) co_return error_reply(place.error(), request);
    following->from = *place;
  }
  Reply reply;
  reply.with("content-type", "text/event-stream; charset=utf-8").with("cache-control", "no-store");
  reply.with("x-accel-buffering", "no");
  if (request.actor.kind != ActorKind::run) {
    reply.next_piece = [following]() -> asio::awaitable<std::string> { return next_events(following); };
    co_return reply;
  }
  // A function's channel carries whole replies: what there is.
  following->follow = false;
  std::string all;
  for (std::string piece = co_await next_events(following); !piece.empty(); piece = co_await next_events(following))
    all += piece;
  reply.body = Bytes::of(std::move(all));
  co_return reply;
}

}  // namespace fused
