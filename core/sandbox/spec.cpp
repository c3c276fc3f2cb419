#include <boost/json.hpp>

#include "sandbox/sandbox.hpp"

namespace fused {
namespace {

namespace json = boost::json;

std::unexpected<Error> wrong(std::string_view key, std::string_view wanted) {
  return fail(ErrorKind::invalid_argument, "sandbox: '" + std::string(key) + "' must be " + std::string(wanted));
}

Result<std::filesystem::path> path_of(const json::value& value, std::string_view key) {
  const auto* text = value.if_string();
  if (text == nullptr || text->empty() || (*text)[0] != '/') return wrong(key, "an absolute path");
  auto path = std::filesystem::path(std::string(*text)).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

Status read_limits(const json::value& value, RunLimits& limits) {
  const auto* object = value.if_object();
  if (object == nullptr) return wrong("limits", "an object");
  const std::pair<std::string_view, std::int64_t*> known[] = {
      {"wall_ms", &limits.wall_ms},           {"memory_bytes", &limits.memory_bytes},
      {"stream_bytes", &limits.stream_bytes}, {"result_bytes", &limits.result_bytes},
      {"processes", &limits.processes},       {"descriptors", &limits.descriptors},
      {"files_made", &limits.files_made},     {"disk_written_bytes", &limits.disk_written_bytes}};
  for (const auto& member : *object) {
    const auto* row =
        std::find_if(std::begin(known), std::end(known), [&](const auto& one) { return one.first == member.key(); });
    if (row == std::end(known)) return wrong("limits." + std::string(member.key()), "left out: no such limit");
    if (!member.value().is_int64() || member.value().as_int64() <= 0) {
      return wrong("limits." + std::string(member.key()), "a positive whole number");
    }
    *row->second = member.value().as_int64();
  }
  return {};
}

Result<std::vector<std::string>> texts(const json::value& value, std::string_view key) {
  const auto* array = value.if_array();
  if (array == nullptr) return wrong(key, "a list of strings");
  std::vector<std::string> found;
  for (const auto& one : *array) {
    if (!one.is_string()) return wrong(key, "a list of strings");
    found.emplace_back(one.as_string());
  }
  return found;
}

Status read_member(const std::string& key, const json::value& value, SandboxSpec& spec) {
  if (key == "isolation") {
    if (value != "auto" && value != "none") return wrong(key, "\"auto\" or \"none\"");
    spec.isolation = std::string(value.as_string());
  } else if (key == "data") {
    spec.data = FUSED_TRY(path_of(value, key));
  } else if (key == "mount") {
    spec.mount = FUSED_TRY(path_of(value, key));
  } else if (key == "scratch") {
    spec.scratch = FUSED_TRY(path_of(value, key));
  } else if (key == "job") {
    spec.job = FUSED_TRY(path_of(value, key));
  } else if (key == "python_paths") {
    for (const auto& one : FUSED_TRY(texts(value, key))) {
      spec.python_paths.push_back(FUSED_TRY(path_of(json::value(one), key)));
    }
  } else if (key == "network") {
    if (!value.is_bool()) return wrong(key, "true or false");
    spec.network = value.as_bool();
  } else if (key == "limits") {
    return read_limits(value, spec.limits);
  } else if (key == "without") {
    spec.without = FUSED_TRY(texts(value, key));
  } else if (key == "keep_descriptors") {
    const auto* array = value.if_array();
    if (array == nullptr) return wrong(key, "a list of descriptors");
    for (const auto& one : *array) {
      if (!one.is_int64() || one.as_int64() < 0) return wrong(key, "a list of descriptors");
      spec.keep_descriptors.push_back(static_cast<int>(one.as_int64()));
    }
  } else {
    return wrong(key, "left out: no such setting");
  }
  return {};
}

}  // namespace

Result<SandboxSpec> parse_sandbox_spec(std::string_view text) {
  boost::system::error_code error;
  const auto value = json::parse(text, error);
  if (error || !value.is_object()) return fail(ErrorKind::invalid_argument, "sandbox: not a JSON object");
  SandboxSpec spec;
  for (const auto& member : value.get_object()) {
    FUSED_CHECK(read_member(std::string(member.key()), member.value(), spec));
  }
  if (spec.job == "/") return wrong("job", "a folder other than /");
  for (const auto& [key, path] : {std::pair{"data", &spec.data}, {"mount", &spec.mount}, {"scratch", &spec.scratch}}) {
    if (path->empty() || *path == "/") return wrong(key, "an absolute path other than /");
  }
  return spec;
}

std::string to_json(const SandboxReport& report) {
  json::object object;
  object["isolation"] = json::array(report.isolation.begin(), report.isolation.end());
  auto& skipped = object["skipped"].emplace_array();
  for (const auto& [step, why] : report.skipped) skipped.push_back({{"step", step}, {"why", why}});
  object["mount"] = report.mount;
  object["pid_namespace"] = report.pid_namespace;
  if (!report.job.empty()) object["job"] = report.job;
  return json::serialize(object);
}

}  // namespace fused
