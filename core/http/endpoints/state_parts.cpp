#include "http/endpoints/state_parts.hpp"

#include <boost/json/serialize.hpp>
#include <charconv>
#include <ctime>

#include "base/duration.hpp"
#include "base/json_parse.hpp"
#include "storage/path_resolver.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::int64_t kCenturySeconds = 36'525LL * 86'400;
constexpr std::int64_t kLastSecond = 253'402'300'799;  // 9999-12-31T23:59:59Z

std::unexpected<Error> wrong_type(std::string_view name, std::string_view expected) {
  return fail(ErrorKind::invalid_argument, "'" + std::string(name) + "' must be " + std::string(expected));
}

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

// 2026-11-21T10:15:30[.fraction]Z or …+00:00
Result<std::int64_t> seconds_of_utc(std::string_view text) {
  const std::string copy(text);
  std::tm parts{};
  const char* rest = ::strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::string_view tail = rest == nullptr ? std::string_view("?") : std::string_view(rest);
  if (tail.starts_with('.')) tail.remove_prefix(std::min(tail.find_first_not_of("0123456789", 1), tail.size()));
  if (tail != "Z" && tail != "+00:00")
    return fail(ErrorKind::invalid_argument, "time '" + shown(text) + "' must look like 2026-11-21T10:15:30Z (UTC)");
  return static_cast<std::int64_t>(::timegm(&parts));
}

}  // namespace

Result<BodyObject> BodyObject::of(const Request& request) {
  if (request.body.empty()) return BodyObject({});
  auto value = parse_json(request.body.view(), kBodyDepthMax);
  if (!value) return fail(ErrorKind::invalid_argument, "the body is not JSON: " + value.error().message);
  if (!value->is_object()) return fail(ErrorKind::invalid_argument, "the body must be a JSON object");
  return BodyObject(std::move(value->get_object()));
}

const json::value* BodyObject::find(std::string_view name) const {
  const json::value* value = members_.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

Result<std::optional<std::string>> BodyObject::optional_text(std::string_view name) const {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return wrong_type(name, "a text");
  return std::string(view(value->get_string()));
}

Result<std::string> BodyObject::text(std::string_view name, std::string_view fallback) const {
  auto value = FUSED_TRY(optional_text(name));
  return value ? *std::move(value) : std::string(fallback);
}

Result<bool> BodyObject::yes_or_no(std::string_view name, bool fallback) const {
  const json::value* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) return wrong_type(name, "true or false");
  return value->get_bool();
}

Result<std::optional<std::optional<std::int64_t>>> expiry_of(const BodyObject& body, std::int64_t now) {
  using Expiry = std::optional<std::int64_t>;
  if (const json::value* life = body.find("expires_in")) {
    boost::system::error_code error;
    std::int64_t seconds = 0;
    if (life->is_string())
      seconds = FUSED_TRY(parse_duration(view(life->get_string()))).count();
    else
      seconds = life->to_number<std::int64_t>(error);
    if (error || seconds < 1 || seconds > kCenturySeconds)
      return wrong_type("expires_in",
                        "1 second to 100 years: seconds, or a text like \"24h\"; without it there is no end");
    return Expiry(now + seconds);
  }
  if (const json::value* end = body.find("expires_at")) {
    boost::system::error_code error;
    std::int64_t seconds = 0;
    if (end->is_string())
      seconds = FUSED_TRY(seconds_of_utc(view(end->get_string())));
    else
      seconds = end->to_number<std::int64_t>(error);
    if (error || seconds < 0 || seconds > kLastSecond)
      return wrong_type("expires_at", "a time like 2026-11-21T10:15:30Z, or seconds since 1970, up to the year 9999");
    return Expiry(seconds);
  }
  return std::nullopt;
}

Result<std::size_t> whole_number_of(const Request& request, std::string_view name, std::size_t fallback,
                                    std::size_t max) {
  const std::string* text = request.query.find(name);
  if (text == nullptr) return fallback;
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc{} || end != text->data() + text->size() || number > max)
    return fail(ErrorKind::invalid_argument, "'" + std::string(name) + "' is '" + shown(*text) +
                                                 "'; it must be a whole number from 0 to " + std::to_string(max));
  return number;
}

std::string path_value_of(const Request& request, std::string_view name) {
  const auto found = request.path_values.find(name);
  return found == request.path_values.end() ? std::string() : found->second;
}

std::string utc_text(std::int64_t seconds) {
  const std::time_t time = seconds;  // not by WallTime, whose nanoseconds end in 2262
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

json::value utc_or_null(const std::optional<std::int64_t>& seconds) {
  return seconds ? json::value(utc_text(*seconds)) : json::value(nullptr);
}

std::int64_t seconds_now(const Clock& clock) {
  return std::chrono::floor<std::chrono::seconds>(clock.now().time_since_epoch()).count();
}

Reply json_reply(const json::value& value, int status) {
  Reply reply = Reply::json(json::serialize(value), status);
  reply.with("cache-control", "no-store");
  return reply;
}

Reply error_reply(const Error& error, const Request& request) { return Reply::error(error, request.request_id); }

}  // namespace fused
