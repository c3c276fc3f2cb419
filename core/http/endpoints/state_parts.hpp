// What the endpoints of functions, share tokens and people work on, and the few helpers they share.
#pragma once
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "auth/people.hpp"
#include "auth/share_tokens.hpp"
#include "base/clock.hpp"
#include "functions/function_store.hpp"
#include "http/message.hpp"
#include "storage/state_thread.hpp"
#include "tiles/table_registry.hpp"

namespace fused {

// All must outlive the routes. Stores are read here and written on the state thread.
struct StateParts {
  FunctionStore* functions = nullptr;
  ShareTokens* shares = nullptr;
  People* people = nullptr;
  StateThread* thread = nullptr;
  const Clock* clock = nullptr;
  const TableRegistry* tables = nullptr;  // for the names of what tokens share
};

inline constexpr std::size_t kBodyDepthMax = 64;  // of nested JSON

// What a JSON body holds; each getter answers the fallback for what is missing or null, and invalid_argument that names
// member and type for what is of another type.
class BodyObject {
 public:
  static Result<BodyObject> of(const Request& request);  // a JSON object; an empty body is {}
  Result<std::string> text(std::string_view name, std::string_view fallback = {}) const;
  Result<std::optional<std::string>> optional_text(std::string_view name) const;
  Result<bool> yes_or_no(std::string_view name, bool fallback) const;
  // Null where it is missing.
  const boost::json::value* find(std::string_view name) const;

 private:
  explicit BodyObject(boost::json::object members) : members_(std::move(members)) {}
  boost::json::object members_;
};

// `expires_in` ("24h" or seconds, from now) or `expires_at` (ISO text ending in Z, or seconds since 1970); null: never.
// Nothing at all where neither is named.
Result<std::optional<std::optional<std::int64_t>>> expiry_of(const BodyObject& body, std::int64_t now);
// 0 … max of the query; invalid_argument otherwise.
Result<std::size_t> whole_number_of(const Request& request, std::string_view name, std::size_t fallback,
                                    std::size_t max);
std::string path_value_of(const Request& request, std::string_view name);

std::string utc_text(std::int64_t seconds);  // 2026-11-21T10:15:30Z
boost::json::value utc_or_null(const std::optional<std::int64_t>& seconds);
std::int64_t seconds_now(const Clock& clock);

Reply json_reply(const boost::json::value& value, int status = 200);  // never cached: it is state
Reply error_reply(const Error& error, const Request& request);
// The reply to a Result: `to_json` of its value, or its error.
template <class T, class F>
Reply reply_of_result(const Result<T>& result, const Request& request, F&& to_json) {
  return result ? json_reply(to_json(*result)) : error_reply(result.error(), request);
}

}  // namespace fused
