#include "functions/function_json.hpp"

#include <array>
#include <boost/json/serialize.hpp>
#include <cstdio>

#include "base/duration.hpp"
#include "base/ids.hpp"
#include "base/json_parse.hpp"
#include "storage/path_resolver.hpp"
#include "storage/text.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::size_t kDepthMax = 64;
constexpr std::size_t kHeadersMax = 1'000;

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

std::unexpected<Error> wrong(std::string_view member, std::string_view expected) {
  return fail(ErrorKind::unprocessable,
              "the function's '" + std::string(member) + "' must be " + std::string(expected));
}

// Text, or nothing where the member is missing or null.
Result<std::string> text_member(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || value->is_null()) return std::string();
  if (!value->is_string()) return wrong(name, "a text");
  return std::string(view(value->get_string()));
}

Result<std::vector<HeaderModule>> headers_of(const json::object& udf) {
  std::vector<HeaderModule> headers;
  const json::value* list = udf.if_contains("headers");
  if (list == nullptr || list->is_null()) return headers;
  if (!list->is_array()) return wrong("headers", "a list");
  if (list->get_array().size() > kHeadersMax)
    return wrong("headers", "a list of at most " + std::to_string(kHeadersMax));
  for (const json::value& entry : list->get_array()) {
    if (!entry.is_object()) return wrong("headers", "a list of objects with 'module_name' and 'source_code'");
    HeaderModule header{FUSED_TRY(text_member(entry.get_object(), "module_name")),
                        FUSED_TRY(text_member(entry.get_object(), "source_code"))};
    if (header.module_name.empty()) return wrong("headers", "a list of objects with a 'module_name'");
    headers.push_back(std::move(header));
  }
  return headers;
}

Result<std::optional<std::int64_t>> cache_max_age_of(const json::object& udf) {
  const json::value* age = udf.if_contains("cache_max_age");
  if (age == nullptr || age->is_null()) return std::nullopt;
  if (age->is_string()) {
    const auto parsed = parse_duration(view(age->get_string()));
    if (!parsed) return fail(ErrorKind::unprocessable, "the function's 'cache_max_age': " + parsed.error().message);
    return parsed->count();
  }
  boost::system::error_code error;
  const auto seconds = age->to_number<std::int64_t>(error);
  if (error || seconds < 0)
    return wrong("cache_max_age", "a whole number of seconds, 0 or more, or a text like \"48h\"");
  return seconds;
}

bool is_ascii_name_character(char32_t c) {
  constexpr std::string_view others = " _-.()+,@~";
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         others.find(static_cast<char>(c)) != others.npos;
}

// Letters of other scripts are allowed by leaving out the blocks that hold none.
bool is_name_character(char32_t c) {
  if (c < 0x80) return is_ascii_name_character(c);
  constexpr std::array<std::pair<char32_t, char32_t>, 9> refused{{
      {0x80, 0xa9},        // C1 controls, no-break space, signs
      {0xab, 0xb4},        // signs, soft hyphen
      {0x2000, 0x2bff},    // spaces, direction marks, punctuation, arrows, mathematics, boxes, dingbats
      {0x3000, 0x3004},    // ideographic space and punctuation
      {0xd800, 0xf8ff},    // surrogates, private use
      {0xfe00, 0xfe0f},    // variation selectors (emoji presentation)
      {0xfeff, 0xfeff},    // byte order mark
      {0xfff0, 0xffff},    // specials
      {0x1f000, 0x1faff},  // emoji and pictographs
  }};
  for (const auto& [first, last] : refused)
    if (c >= first && c <= last) return false;
  return c < 0xe0000;  // tags, private planes
}

}  // namespace

Result<FunctionSource> function_of_json(const json::object& udf) {
  FunctionSource source;
  const json::value* code = udf.if_contains("code");
  if (code == nullptr || !code->is_string()) return wrong("code", "there, as a text");
  source.code = view(code->get_string());
  if (source.code.find('\0') != std::string::npos) return wrong("code", "without NUL characters");
  source.name = FUSED_TRY(text_member(udf, "name"));
  source.entrypoint = FUSED_TRY(text_member(udf, "entrypoint"));
  source.headers = FUSED_TRY(headers_of(udf));
  if (std::string collection = FUSED_TRY(text_member(udf, "collection_name")); !collection.empty())
    source.collection_name = std::move(collection);
  if (const json::value* parameters = udf.if_contains("parameters"); parameters != nullptr && !parameters->is_null()) {
    if (!parameters->is_object()) return wrong("parameters", "an object");
    source.parameters = parameters->get_object();
  }
  source.cache_max_age_seconds = FUSED_TRY(cache_max_age_of(udf));
  source.code_hash = code_hash_of(source);
  return source;
}

Result<FunctionSource> function_of_text(std::string_view json_text) {
  const auto value = parse_json(json_text, kDepthMax);
  if (!value) return fail(ErrorKind::unprocessable, "the function is not JSON: " + value.error().message);
  if (!value->is_object()) return fail(ErrorKind::unprocessable, "the function must be a JSON object");
  return function_of_json(value->get_object());
}

std::string json_of_function(const FunctionSource& source) {
  json::array headers;
  for (const HeaderModule& header : source.headers)
    headers.push_back({{"module_name", header.module_name}, {"source_code", header.source_code}});
  json::object udf{
      {"name", source.name}, {"type", "geopandas_v2"}, {"code", source.code},      {"headers", std::move(headers)},
      {"metadata", nullptr}, {"entrypoint", nullptr},  {"cache_max_age", nullptr}, {"parameters", source.parameters}};
  if (!source.entrypoint.empty()) udf["entrypoint"] = source.entrypoint;
  if (source.cache_max_age_seconds) udf["cache_max_age"] = *source.cache_max_age_seconds;
  return json::serialize(udf);
}

std::string code_hash_of(const FunctionSource& source) {
  std::string bytes;
  const auto add = [&](std::string_view part) { (bytes += std::to_string(part.size()) += ':') += part; };
  add(source.code);
  add(source.entrypoint);
  for (const HeaderModule& header : source.headers) {
    add(header.module_name);
    add(header.source_code);
  }
  return sha256_hex(bytes);
}

Status check_function_name(std::string_view name) {
  if (const Status usable = check_component(name); !usable)
    return std::unexpected(usable.error().within("function name"));
  if (name.front() == '.' || name.front() == ' ' || name.back() == ' ')
    return fail(ErrorKind::invalid_argument, "function name '" + shown(name) +
                                                 "' cannot be used: it begins with '.' or a "
                                                 "space, or ends with a space");
  std::string_view rest = name;
  while (const auto point = next_code_point(rest)) {
    if (is_name_character(*point)) continue;
    char code[16];
    std::snprintf(code, sizeof code, "U+%04X", static_cast<unsigned>(*point));
    return fail(ErrorKind::invalid_argument, "function name '" + shown(name) + "' cannot be used: it holds " + code +
                                                 "; allowed are letters and digits, spaces and _ - . ( ) + , @ ~");
  }
  return {};
}

}  // namespace fused
