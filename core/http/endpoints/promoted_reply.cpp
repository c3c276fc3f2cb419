#include "http/endpoints/promoted_reply.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "http/endpoints/run_reply.hpp"
#include "http/security_headers.hpp"
#include "jobs/job_options.hpp"
#include "run/outcome.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr auto kLook = std::chrono::milliseconds(200);

std::string text(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

// JSON as a header may hold it.
std::string ascii(std::string_view serialized) {
  std::string out;
  out.reserve(serialized.size());
  for (std::size_t i = 0; i < serialized.size();) {
    const auto c = static_cast<unsigned char>(serialized[i]);
    if (c < 0x80) {
      out += serialized[i++];
      continue;
    }
    const std::size_t more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;  // a serialiser writes valid UTF-8
    char32_t code = more == 3 ? c & 7 : more == 2 ? c & 15 : c & 31;
    for (std::size_t k = 1; k <= more && i + k < serialized.size(); ++k)
      code = code << 6 | (static_cast<unsigned char>(serialized[i + k]) & 0x3f);
    i += more + 1;
    char escape[16];
    const auto unit = [](char32_t value) { return static_cast<unsigned>(value); };
    if (code >= 0x10000)
      std::snprintf(escape, sizeof escape, "\\u%04x\\u%04x", unit(0xd800 + ((code - 0x10000) >> 10)),
                    unit(0xdc00 + ((code - 0x10000) & 0x3ff)));
    else
      std::snprintf(escape, sizeof escape, "\\u%04x", unit(code));
    out += escape;
  }
  return out;
}

// Of one that left no result: canceled, or failed without its function having said anything.
Reply ended_without_result(const JobRow& row, const Request& request) {
  const bool canceled = row.state == JobState::canceled;
  const std::string message = "job " + row.spec.id + " is " + std::string(word(row.state)) +
                              (row.error.empty() ? std::string() : ": " + row.error);
  Metadata metadata{.has_exception = true,
                    .exception_class = canceled ? "CancelledError" : "RuntimeError",
                    .error_message = message,
                    .error_type = "runtime_error",
                    .run_id = row.spec.id,
                    .outcome = canceled ? "cancelled" : "crashed"};
  Reply reply = Reply::json(json::serialize(json::object{{"error_type", canceled ? "cancelled" : "crashed"},
                                                         {"message", message},
                                                         {"detail", ""},
                                                         {"request_id", request.request_id},
                                                         {"run_id", row.spec.id}}),
                            422);
  reply.with("x-fused-metadata", metadata_header(metadata));
  return reply;
}

asio::awaitable<Reply> result_of(JobService& jobs, const Request& request, const JobRow& row) {
  const std::string& id = row.spec.id;
  const auto tasks = co_await jobs.tasks(id, 0, 1);
  if (!tasks || tasks->empty() || tasks->front().result_path.empty()) co_return ended_without_result(row, request);
  const std::string name = shown_result_name(tasks->front().result_path);
  auto body = co_await jobs.file(id, name);
  const auto about = co_await jobs.file(id, name + ".metadata");
  if (!body || !about) co_return ended_without_result(row, request);
  boost::system::error_code error;
  json::value parsed = json::parse(json::string_view(about->view.data(), about->view.size()), error);
  if (error || !parsed.is_object()) co_return ended_without_result(row, request);
  json::object& metadata = parsed.get_object();
  const std::string content_type = text(metadata, "content_type");
  metadata.erase("content_type");
  Reply reply;
  reply.with("x-fused-metadata", ascii(json::serialize(metadata)));
  if (row.state == JobState::done) {
    if (!content_type.empty()) reply.with("content-type", content_type);
    add_sandbox(reply);
    reply.body = *std::move(body);
    co_return reply;
  }
  reply.status = 422;
  reply.with("content-type", "application/json");
  reply.body = Bytes::of(json::serialize(json::object{{"error_type", text(metadata, "outcome")},
                                                      {"message", text(metadata, "errormsg")},
                                                      {"detail", text(metadata, "exception")},
                                                      {"request_id", request.request_id},
                                                      {"run_id", id}}));
  co_return reply;
}

}  // namespace

Reply goes_on_as_job(std::string_view run_id, std::string_view job_id, std::string_view message) {
  const std::string id(job_id);
  Reply reply = Reply::json(json::serialize(json::object{{"status", "running"},
                                                         {"run_id", run_id},
                                                         {"job_id", id},
                                                         {"message", message},
                                                         {"status_url", "/server/v1/run/by-id/" + id},
                                                         {"results_url", "/server/v1/run/by-id/" + id + "/results"},
                                                         {"log_url", "/api/v1/jobs/" + id + "/logs"},
                                                         {"cancel_url", "/server/v1/run/by-id/" + id + "/cancel"}}),
                            202);
  reply.with("x-fused-run-id", std::string(run_id)).with("x-fused-job-id", id);
  reply.with("location", "/server/v1/run/by-id/" + id).with("cache-control", "no-store");
  return reply;
}

asio::awaitable<std::optional<Reply>> answer_of_job(JobService& jobs, const Request& request, std::string job_id,
                                                    std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const auto job = co_await jobs.find(request.actor, job_id);
    if (!job || read_options(job->row.spec.options_json).promoted_after_ms == 0) co_return std::nullopt;
    if (is_terminal(job->row.state)) {
      Reply reply = co_await result_of(jobs, request, job->row);
      reply.with("x-fused-run-id", job_id).with("x-fused-job-id", job_id);
      reply.with("cache-control", "no-store").with("vary", "Authorization");
      co_return reply;
    }
    if (std::chrono::steady_clock::now() >= until || jobs.is_stopping())
      co_return goes_on_as_job(job_id, job_id, "run " + job_id + " goes on as a job");
    asio::steady_timer pause(co_await asio::this_coro::executor, kLook);
    co_await pause.async_wait(asio::use_awaitable);
  }
}

}  // namespace fused
