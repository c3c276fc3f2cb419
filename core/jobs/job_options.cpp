#include "jobs/job_options.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>

#include "base/text.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::size_t kVariablesMax = 1'000;
constexpr std::size_t kVariableBytesMax = 64 << 10;

template <class T>
T member(const json::object& object, const char* name, T otherwise) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || value->is_null()) return otherwise;
  auto read = json::try_value_to<T>(*value);
  return read ? *read : otherwise;
}

bool is_name(std::string_view name) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && is_letter(name.front()) &&
         std::ranges::all_of(name, [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

}  // namespace

std::string options_json(const JobOptions& o) {
  json::array environment;
  for (const auto& [name, value] : o.environment) environment.push_back(json::array{name, value});
  json::object object{{"instance_type", o.instance_type},
                      {"region", o.region},
                      {"environment", std::move(environment)},
                      {"image_name", o.image_name},
                      {"send_status_email", o.send_status_email},
                      {"priority", o.priority},
                      {"max_retry", o.max_retry},
                      {"recursion", o.recursion},
                      {"derived_from", o.derived_from},
                      {"submitted_by_run", o.submitted_by_run},
                      {"disk_bytes", o.disk_bytes},
                      {"notes", json::array(o.notes.begin(), o.notes.end())}};
  if (!o.hooks.empty()) object["hooks"] = o.hooks;
  if (o.disk_size_gb) object["disk_size_gb"] = *o.disk_size_gb;
  if (!o.formats.empty()) object["formats"] = json::array(o.formats.begin(), o.formats.end());
  if (!o.parts.empty()) object["parts"] = o.parts;
  if (!o.request_sha256.empty()) object["request_sha256"] = o.request_sha256;
  if (o.promoted_after_ms > 0) object["promoted_after_ms"] = o.promoted_after_ms;
  if (o.cache_max_age) object["cache_max_age"] = *o.cache_max_age;
  return json::serialize(object);
}

JobOptions read_options(std::string_view text) {
  JobOptions o;
  boost::system::error_code error;
  const json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error || !value.is_object()) return o;
  const json::object& object = value.get_object();
  o.instance_type = member<std::string>(object, "instance_type", "");
  o.region = member<std::string>(object, "region", "");
  o.image_name = member<std::string>(object, "image_name", "");
  o.send_status_email = member(object, "send_status_email", false);
  o.priority = member(object, "priority", 0);
  o.max_retry = member(object, "max_retry", 0);
  o.recursion = member(object, "recursion", 1);
  o.derived_from = member<std::string>(object, "derived_from", "");
  o.submitted_by_run = member<std::string>(object, "submitted_by_run", "");
  o.parts = member<std::string>(object, "parts", "");
  o.request_sha256 = member<std::string>(object, "request_sha256", "");
  o.disk_bytes = member<std::int64_t>(object, "disk_bytes", 0);
  o.notes = member<std::vector<std::string>>(object, "notes", {});
  o.environment = member<std::vector<std::pair<std::string, std::string>>>(object, "environment", {});
  if (const json::value* hooks = object.if_contains("hooks"); hooks != nullptr && hooks->is_array())
    o.hooks = hooks->get_array();
  o.formats = member<std::vector<std::string>>(object, "formats", {});
  o.promoted_after_ms = member<std::int64_t>(object, "promoted_after_ms", 0);
  if (object.contains("disk_size_gb")) o.disk_size_gb = member<std::int64_t>(object, "disk_size_gb", 0);
  if (object.contains("cache_max_age")) o.cache_max_age = member<std::int64_t>(object, "cache_max_age", 0);
  return o;
}

Result<std::vector<std::pair<std::string, std::string>>> read_environment(const json::value& list) {
  const auto wrong = [](const std::string& what) {
    return fail(ErrorKind::invalid_argument, "additional_env" + what + "; it is a list of texts \"NAME=value\"");
  };
  if (!list.is_array()) return wrong(" is no list");
  if (list.get_array().size() > kVariablesMax)
    return wrong(" has more than " + std::to_string(kVariablesMax) + " items");
  std::vector<std::pair<std::string, std::string>> variables;
  for (std::size_t i = 0; i < list.get_array().size(); ++i) {
    const json::value& item = list.get_array()[i];
    const std::string place = "[" + std::to_string(i) + "]";
    if (!item.is_string()) return wrong(place + " is no text");
    const std::string text(item.get_string());
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || !is_name(std::string_view(text).substr(0, equals)) ||
        text.find('\0') != std::string::npos || text.size() > kVariableBytesMax)
      return wrong(place + " is '" + printable(text.substr(0, std::min<std::size_t>(equals, 40))) + "'");
    variables.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

json::object shown_options(const JobOptions& o) {
  json::array names;
  for (const auto& [name, value] : o.environment) names.emplace_back(name + "=…");
  const auto text = [](const std::string& given) { return given.empty() ? json::value(nullptr) : json::value(given); };
  return {
      {"instance_type", o.instance_type},
      {"region", text(o.region)},
      {"disk_size_gb", o.disk_size_gb ? json::value(*o.disk_size_gb) : json::value(nullptr)},
      {"additional_env", std::move(names)},
      {"image_name", text(o.image_name)},
      {"send_status_email", o.send_status_email},
      {"cache_max_age", o.cache_max_age ? json::value(*o.cache_max_age) : json::value(nullptr)},
      {"priority", o.priority},
      {"max_retry", o.max_retry},
      {"derived_from", text(o.derived_from)},
      {"submitted_by_run", text(o.submitted_by_run)},
      {"parts", text(o.parts)},
      {"promoted_after_seconds",
       o.promoted_after_ms > 0 ? json::value(static_cast<double>(o.promoted_after_ms) / 1e3) : json::value(nullptr)}};
}

}  // namespace fused
