#include "http/endpoints/run_reply.hpp"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "http/endpoints/promoted_reply.hpp"
#include "http/security_headers.hpp"
#include "logs/json_text.hpp"

namespace fused {
namespace {

constexpr std::size_t kErrorHeaderBytesMax = 2'000;

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
  body += ",\"run_id\":";
  append_json_string(body, outcome.run_id);
  if (!outcome.possible_formats.empty()) body += ",\"possible_formats\":" + outcome.possible_formats;
  body += '}';
  return body;
}

// One line of printable ASCII, as a header may hold it.
std::string header_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = c >= 0x20 && c < 0x7f;
    if (plain || c == '\n' || c == '\t') out += plain ? c : ' ';
    if (static_cast<unsigned char>(c) >= 0xc0) out += '?';  // one for each character
    if (out.size() >= kErrorHeaderBytesMax) break;
  }
  return out;
}

}  // namespace

bool is_header_of_functions(std::string_view name) {
  static constexpr std::string_view kTheirs[] = {"accept-ranges",
                                                 "cache-control",
                                                 "content-digest",
                                                 "content-disposition",
                                                 "content-encoding",
                                                 "content-language",
                                                 "content-location",
                                                 "content-range",
                                                 "deprecation",
                                                 "etag",
                                                 "expires",
                                                 "last-modified",
                                                 "link",
                                                 "location",
                                                 "repr-digest",
                                                 "retry-after",
                                                 "server-timing",
                                                 "sunset",
                                                 "vary"};
  // Of the x- names these are acted upon by browsers, proxies and servers in front of us, or are ours.
  static constexpr std::string_view kNotTheirs[] = {"x-accel-",
                                                    "x-content-type-options",
                                                    "x-dns-prefetch-control",
                                                    "x-forwarded-",
                                                    "x-frame-options",
                                                    "x-fused-",
                                                    "x-lighttpd-",
                                                    "x-permitted-cross-domain-policies",
                                                    "x-real-ip",
                                                    "x-request-id",
                                                    "x-sendfile",
                                                    "x-ua-compatible",
                                                    "x-xss-protection",
                                                    "x-cache"};
  if (!name.starts_with("x-")) return std::ranges::find(kTheirs, name) != std::end(kTheirs);
  return std::ranges::none_of(kNotTheirs, [&](std::string_view start) { return name.starts_with(start); });
}

std::string private_cache_control(std::string_view value) {
  std::string out = "private";
  while (!value.empty()) {
    const std::size_t comma = std::min(value.find(','), value.size());
    std::string_view part = value.substr(0, comma);
    value.remove_prefix(std::min(comma + 1, value.size()));
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    const std::string known = lower(part);
    if (known.empty() || known == "public" || known == "private" || known.starts_with("s-maxage")) continue;
    out.append(", ").append(part);
  }
  return out;
}

Reply run_refusal(const Error& error, const Request& request) {
  return Reply::error(error, request.request_id).with("x-fused-error", header_text(error.message));
}

Reply reply_of(const Result<RunOutcome>& result, ReplyForm form, ReplyFor reply_for, const Request& request) {
  if (!result) return run_refusal(result.error(), request);
  const RunOutcome& outcome = *result;
  if (outcome.is_promoted()) return goes_on_as_job(outcome.run_id, outcome.job_id, outcome.error_message);
  Reply reply;
  reply.headers.reserve(8);
  reply.status = outcome.ok() || form != ReplyForm::polling ? outcome.status : 422;
  reply.with("x-fused-metadata", outcome.metadata).with("x-fused-run-id", outcome.run_id);
  for (const auto& [name, value] : outcome.cache_headers) reply.with(name, value);
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
  const bool is_private = reply_for == ReplyFor::the_caller;
  bool has_cache_control = false, has_etag = false;
  for (const auto& [name, value] : outcome.headers) {
    const std::string key = lower(name);
    if (!is_header_of_functions(key) || !is_safe_field(name, value)) continue;
    has_cache_control |= key == "cache-control";
    has_etag |= key == "etag";
    reply.with(key, key == "cache-control" && is_private ? private_cache_control(value) : value);
  }
  // A tile may be shown again for a minute without asking; anything else is asked for again, by its ETag.
  if (!has_cache_control) {
    const std::string_view who = is_private ? "private" : "public";
    reply.with("cache-control", form == ReplyForm::tile ? std::string(who) + ", max-age=60"
                                : is_private            ? "private, no-cache"
                                                        : "no-cache");
  }
  if (is_private) reply.with("vary", "Authorization");
  if (!outcome.etag.empty() && !has_etag) reply.with("etag", outcome.etag);
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
