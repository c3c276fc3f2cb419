#include "run/run_request.hpp"

#include <algorithm>

#include "base/json_parse.hpp"
#include "functions/function_json.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::array<std::string_view, 11> kReserved{
    "format",       "profile",          "cache_max_age",    "fused_cache_disable_stream", "_stream_logs",
    "_include_log", "dtype_out_vector", "dtype_out_raster", "fused_session_token",        "explain_cache",
    "cache_reset"};

constexpr std::string_view kFormats =
    "parquet, geojson, json, csv, mvt, feather, xlsx, xml, html, txt, png, jpeg, webp, gif, apng, svg, tiff, npy, zip";

constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kAliases{{{"jpg", "jpeg"},
                                                                                  {"tif", "tiff"},
                                                                                  {"pq", "parquet"},
                                                                                  {"arrow", "feather"},
                                                                                  {"ipc", "feather"},
                                                                                  {"excel", "xlsx"},
                                                                                  {"pbf", "mvt"},
                                                                                  {"htm", "html"},
                                                                                  {"geoparquet", "parquet"},
                                                                                  {"numpy", "npy"},
                                                                                  {"text", "txt"}}};

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool is_known(std::string_view format) {
  for (std::size_t at = 0; at < kFormats.size();) {
    const std::size_t end = std::min(kFormats.find(", ", at), kFormats.size());
    if (kFormats.substr(at, end - at) == format) return true;
    at = end + 2;
  }
  return false;
}

const std::string* last_of(const std::vector<std::pair<std::string, std::string>>& query, std::string_view name) {
  const auto found = std::find_if(query.rbegin(), query.rend(), [&](const auto& item) { return item.first == name; });
  return found == query.rend() ? nullptr : &found->second;
}

Result<std::string> one_format(std::string_view text) {
  auto formats = FUSED_TRY(parse_format_list(text));
  if (formats.size() != 1)
    return fail(ErrorKind::invalid_argument, "dtype_out takes one format, not '" + std::string(text) + "'");
  return formats.front();
}

std::string text_member(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

}  // namespace

bool is_reserved_query_name(std::string_view name) { return std::ranges::find(kReserved, name) != kReserved.end(); }

std::string_view known_formats() { return kFormats; }

Result<std::vector<std::string>> parse_format_list(std::string_view text) {
  std::vector<std::string> formats;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    std::string name = lower(text.substr(at, end - at));
    std::erase(name, ' ');
    for (const auto& [alias, format] : kAliases)
      if (name == alias) name = format;
    if (!is_known(name))
      return fail(ErrorKind::invalid_argument,
                  "format '" + name.substr(0, 40) + "' is unknown; the formats are " + std::string(kFormats));
    formats.push_back(std::move(name));
    at = end + 1;
  }
  return formats;
}

Result<WantedFormat> wanted_format(const std::vector<std::pair<std::string, std::string>>& query,
                                   std::string_view extension) {
  WantedFormat wanted;
  if (const auto* format = last_of(query, "format"); format && !format->empty()) {
    wanted.preferences = FUSED_TRY(parse_format_list(*format));
    wanted.from = "query";
    return wanted;
  }
  if (!extension.empty()) {
    wanted.preferences = FUSED_TRY(parse_format_list(extension));
    wanted.from = "extension";
    return wanted;
  }
  const auto* vector = last_of(query, "dtype_out_vector");
  const auto* raster = last_of(query, "dtype_out_raster");
  if (vector || raster) {
    DtypeOut dtype_out{"parquet", "tiff"};
    if (vector) dtype_out.vector = FUSED_TRY(one_format(*vector));
    if (raster) dtype_out.raster = FUSED_TRY(one_format(*raster));
    wanted.dtype_out = std::move(dtype_out);
    wanted.from = "query";
  }
  return wanted;
}

Result<StepConfig> parse_step_config(std::string_view json_text) {
  const auto value = parse_json(json_text);
  if (!value) return fail(ErrorKind::invalid_argument, "'step_config' is not JSON: " + value.error().message);
  if (!value->is_object()) return fail(ErrorKind::invalid_argument, "'step_config' is not a JSON object");
  const json::object& step = value->get_object();
  if (const std::string type = text_member(step, "type"); type != "udf")
    return fail(ErrorKind::unprocessable, "a step of type '" + type + "' cannot be run here; the type is 'udf'");
  if (const auto* input = step.if_contains("input"); input && !input->is_null()) {
    if (!input->is_array()) return fail(ErrorKind::unprocessable, "the step's 'input' is not a list");
    if (!input->get_array().empty())
      return fail(ErrorKind::unprocessable,
                  "the step's 'input' holds " + std::to_string(input->get_array().size()) +
                      " set(s) of parameters; one request is one run: send a request for each, with its parameters in "
                      "udf.parameters (as fused.run and fused.submit do for a step with arg_list)");
  }
  const auto* udf = step.if_contains("udf");
  if (!udf || !udf->is_object()) return fail(ErrorKind::unprocessable, "'step_config' has no 'udf'");
  StepConfig config{FUSED_TRY(function_of_json(udf->get_object())), {}, {}};
  if (const auto* metadata = udf->get_object().if_contains("metadata"); metadata && metadata->is_object())
    config.saved_id = text_member(metadata->get_object(), "fused:id");
  // The client merges the call's parameters into the object's; as defaults they would be keyed with the code.
  config.parameters = std::move(config.function.parameters);
  config.function.parameters = {};
  return config;
}

}  // namespace fused
