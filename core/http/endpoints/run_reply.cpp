#include "http/endpoints/run_reply.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "http/security_headers.hpp"
#include "logs/json_text.hpp"

namespace fused {
namespace {

// Names a function's own Response may not set: they speak for the server.
bool is_ours(std::string_view name) {
  static constexpr std::string_view kOurs[] = {"content-length",
                                               "transfer-encoding",
                                               "connection",
                                               "content-type",
                                               "set-cookie",
                                               "content-security-policy",
                                               "server",
                                               "date",
                                               "upgrade",
                                               "keep-alive",
                                               "te",
                                               "trailer"};
  for (const auto ours : kOurs)
    if (name == ours) return true;
  return name.starts_with("access-control-") || name.starts_with("x-fused-");
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool is_safe_field(std::string_view name, std::string_view value) {
  for (const char c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_') return false;
  return !name.empty() && value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos &&
         value.size() <= 8'000;
}

std::string failure_body(const RunOutcome& outcome, const Request& request) {
  std::string body = "{\"error_type\":";
  append_json_string(body, outcome.outcome);
  body += ",\"message\":";
  append_json_string(body, outcome.error_class.empty() || outcome.error_message.starts_with(outcome.error_class)
                               ? outcome.error_message
                               : outcome.error_class + ": " + outcome.error_message);
  body += ",\"detail\":";
  append_json_string(body, outcome.traceback);
  body += ",\"request_id\":";
  append_json_string(body, request.request_id);
  if (!outcome.possible_formats.empty()) body += ",\"possible_formats\":" + outcome.possible_formats;
  body += '}';
  return body;
}

}  // namespace

Reply reply_of(const Result<RunOutcome>& result, ReplyForm form, const Request& request) {
  if (!result) return Reply::error(result.error(), request.request_id);
  const RunOutcome& outcome = *result;
  Reply reply;
  reply.headers.reserve(8);
  reply.status = outcome.ok() || form != ReplyForm::polling ? outcome.status : 422;
  reply.with("x-fused-metadata", outcome.metadata).with("x-fused-run-id", outcome.run_id);
  if (!outcome.ok()) {
    reply.with("content-type", "application/json").with("cache-control", "no-store");
    reply.body = Bytes::of(failure_body(outcome, request));
    return reply;
  }
  const bool is_empty = outcome.body.view.empty();
  if (form == ReplyForm::tile && is_empty && outcome.status == 200)
    reply.status = outcome.format == "mvt" || outcome.format == "geojson" ? 200 : 204;
  if (!outcome.content_type.empty()) reply.with("content-type", outcome.content_type);
  add_sandbox(reply);
  bool has_cache_control = false;
  for (const auto& [name, value] : outcome.headers) {
    const std::string key = lower(name);
    if (is_ours(key) || !is_safe_field(name, value)) continue;
    has_cache_control |= key == "cache-control";
    reply.with(key, value);
  }
  // A tile may be shown again for a minute without asking; anything else is asked for again, by its ETag.
  if (!has_cache_control) reply.with("cache-control", form == ReplyForm::tile ? "public, max-age=60" : "no-cache");
  reply.body = outcome.body;
  return reply;
}

Reply still_running(const std::string& run_id, std::string_view log_dir) {
  Reply reply = Reply::json("{\"status\":\"running\"}", 202);
  reply.with("x-fused-run-id", run_id).with("cache-control", "no-store");
  if (!log_dir.empty()) {
    std::string metadata = "{\"log_dir\":";
    append_json_string(metadata, log_dir);
    reply.with("x-fused-metadata", metadata + '}');
  }
  return reply;
}

}  // namespace fused
