#include "jobs/job_config.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <initializer_list>

#include "base/json_parse.hpp"
#include "base/text.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::size_t kShownBytes = 60;
constexpr std::size_t kNameBytesMax = 256;

std::string shown(const json::value& value) {
  const std::string text = json::serialize(value);
  return text.size() <= kShownBytes ? text : valid_utf8(text.substr(0, kShownBytes)) + "…";
}

std::unexpected<Error> wrong(const std::string& place, const json::value& seen, std::string_view allowed) {
  return fail(ErrorKind::invalid_argument,
              place + " is " + printable(shown(seen)) + "; it must be " + std::string(allowed));
}

// One JSON object and where it stands, so that an error can name the place.
class Fields {
 public:
  Fields(const json::object& object, std::string place) : object_(object), place_(std::move(place)) {}

  // nullptr where it is missing or null.
  const json::value* find(std::string_view name) const {
    const json::value* value = object_.if_contains(name);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  std::string place(std::string_view name) const { return place_ + (place_.empty() ? "" : ".") + std::string(name); }

  Result<std::string> text(std::string_view name) const {
    const json::value* value = find(name);
    if (value == nullptr) return std::string();
    if (!value->is_string()) return wrong(place(name), *value, "text or null");
    return std::string(value->as_string());
  }
  Result<bool> truth(std::string_view name) const {
    const json::value* value = find(name);
    if (value == nullptr) return false;
    if (!value->is_bool()) return wrong(place(name), *value, "true or false");
    return value->as_bool();
  }
  Result<std::int64_t> whole(std::string_view name, std::int64_t least, std::int64_t most, std::int64_t missing) const {
    const json::value* value = find(name);
    if (value == nullptr) return missing;
    if (!value->is_int64() || value->as_int64() < least || value->as_int64() > most)
      return wrong(place(name), *value,
                   "a whole number from " + std::to_string(least) + " to " + std::to_string(most) + ", or null");
    return value->as_int64();
  }
  Status more_than_0(std::string_view name) const {
    const json::value* value = find(name);
    if (value == nullptr) return {};
    const bool is_number = value->is_int64() || value->is_uint64() || value->is_double();
    if (!is_number || !(value->to_number<double>() > 0)) return wrong(place(name), *value, "a number above 0, or null");
    return {};
  }
  Status one_of(std::string_view name, std::initializer_list<std::string_view> allowed) const {
    const json::value* value = find(name);
    if (value == nullptr) return {};
    std::string list;
    for (const std::string_view each : allowed) {
      if (value->is_string() && value->as_string() == each) return {};
      list += '"' + std::string(each) + "\", ";
    }
    return wrong(place(name), *value, "one of " + list + "or null");
  }
  Status names(std::string_view name) const {
    const json::value* value = find(name);
    if (value == nullptr) return {};
    const auto not_names = [&] { return wrong(place(name), *value, "a list of column names, or null"); };
    if (!value->is_array()) return not_names();
    for (const json::value& each : value->as_array())
      if (!each.is_string()) return not_names();
    return {};
  }

 private:
  const json::object& object_;
  std::string place_;
};

bool is_name(std::string_view name) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (name.empty() || name.size() > kNameBytesMax || !is_letter(name.front())) return false;
  for (const char c : name)
    if (!is_letter(c) && !(c >= '0' && c <= '9') && std::string_view("_.:-").find(c) == std::string_view::npos)
      return false;
  return true;
}

Result<StepKind> kind_of(const Fields& step) {
  const json::value* type = step.find("type");
  const json::value none = nullptr;
  if (type != nullptr && type->is_string()) {
    if (type->as_string() == "udf") return StepKind::udf;
    if (type->as_string() == "partition_geospatial") return StepKind::partition_geospatial;
    if (type->as_string() == "partition_nongeospatial") return StepKind::partition_nongeospatial;
  }
  return wrong(step.place("type"), type == nullptr ? none : *type,
               "\"udf\", \"partition_geospatial\" or \"partition_nongeospatial\"");
}

Status check_udf(const Fields& step, JobStep& found) {
  const json::value none = nullptr;
  const json::value* udf = step.find("udf");
  if (udf == nullptr || !udf->is_object())
    return wrong(step.place("udf"), udf == nullptr ? none : *udf,
                 "a function: {\"name\", \"code\", \"entrypoint\", …}");
  const Fields function(udf->as_object(), step.place("udf"));
  const json::value* code = function.find("code");
  if (code == nullptr || !code->is_string() || code->as_string().empty())
    return wrong(function.place("code"), code == nullptr ? none : *code, "the function's text");
  const std::string name = FUSED_TRY(function.text("name"));
  FUSED_CHECK(function.text("entrypoint"));
  if (found.name.empty()) found.name = name;
  if (const json::value* parameters = function.find("parameters"); parameters != nullptr && !parameters->is_object())
    return wrong(function.place("parameters"), *parameters, "an object of values by name, or null");
  const json::value* input = step.find("input");
  if (input == nullptr) return {};
  if (!input->is_array() || input->as_array().empty())
    return wrong(step.place("input"), *input, "null, or a list with at least one item");
  found.inputs = static_cast<std::int64_t>(input->as_array().size());
  return {};
}

Status check_input_paths(const Fields& step) {
  const json::value none = nullptr;
  const json::value* input = step.find("input");
  const auto wrong_input = [&] {
    return wrong(step.place("input"), input == nullptr ? none : *input, "a path, or a list of at least one path");
  };
  if (input == nullptr) return wrong_input();
  const auto is_path = [](const json::value& value) { return value.is_string() && !value.as_string().empty(); };
  if (is_path(*input)) return {};
  if (!input->is_array() || input->as_array().empty()) return wrong_input();
  for (const json::value& each : input->as_array())
    if (!is_path(each)) return wrong_input();
  return {};
}

Status check_partition(const Fields& step, StepKind kind) {
  FUSED_CHECK(check_input_paths(step));
  for (const char* name : {"output", "output_metadata"}) FUSED_CHECK(step.text(name));
  for (const char* name : {"partitioning_maximum_per_file", "partitioning_maximum_per_chunk"})
    FUSED_CHECK(step.more_than_0(name));
  FUSED_CHECK(step.truth("overwrite"));
  if (kind == StepKind::partition_nongeospatial) {
    FUSED_CHECK(step.text("partition_col"));
    return {};
  }
  for (const char* name : {"partitioning_max_width_ratio", "partitioning_max_height_ratio", "subdivide_start",
                           "subdivide_stop", "target_num_chunks"})
    FUSED_CHECK(step.more_than_0(name));
  FUSED_CHECK(step.one_of("partitioning_method", {"rows", "area", "length", "coords"}));
  FUSED_CHECK(step.one_of("partitioning_force_utm", {"file", "chunk"}));
  FUSED_CHECK(step.one_of("partitioning_split_method", {"mean", "median"}));
  FUSED_CHECK(step.one_of("subdivide_method", {"area"}));
  for (const char* name : {"load_columns", "remove_cols", "lonlat_cols"}) FUSED_CHECK(step.names(name));
  for (const char* name : {"file_suffix", "partitioning_schema_input"}) FUSED_CHECK(step.text(name));
  for (const char* name : {"explode_geometries", "drop_out_of_bounds", "split_identical_centroids"})
    FUSED_CHECK(step.truth(name));
  const json::value* pair = step.find("lonlat_cols");
  if (pair != nullptr && pair->as_array().size() != 2)
    return wrong(step.place("lonlat_cols"), *pair, "two column names, longitude and latitude, or null");
  if ((step.find("subdivide_start") != nullptr || step.find("subdivide_stop") != nullptr) &&
      step.find("subdivide_method") == nullptr)
    return wrong(step.place("subdivide_method"), nullptr, "\"area\" where subdivide_start or subdivide_stop is given");
  return {};
}

Result<JobStep> check_step(const json::value& value, const std::string& place) {
  if (!value.is_object()) return wrong(place, value, "an object with \"type\"");
  const Fields step(value.as_object(), place);
  JobStep found;
  found.kind = FUSED_TRY(kind_of(step));
  found.name = FUSED_TRY(step.text("name"));
  found.ignore_chunk_error = FUSED_TRY(step.truth("ignore_chunk_error"));
  found.n_processes = static_cast<int>(FUSED_TRY(step.whole("n_processes", 1, kStepProcessesMax, 0)));
  if (found.kind == StepKind::udf)
    FUSED_CHECK(check_udf(step, found));
  else
    FUSED_CHECK(check_partition(step, found.kind));
  found.source = value.as_object();
  return found;
}

}  // namespace

std::vector<StepPlan> JobConfig::plan() const {
  std::vector<StepPlan> plan;
  for (const JobStep& step : steps) plan.push_back({step.tasks(), step.n_processes, step.ignore_chunk_error});
  return plan;
}

Result<JobConfig> parse_job_config(std::string_view text) {
  if (text.size() > kJobConfigBytesMax)
    return fail(ErrorKind::too_large, "the job's config has " + std::to_string(text.size()) + " bytes; allowed are " +
                                          std::to_string(kJobConfigBytesMax) + ": pass large arguments as files");
  Result<json::value> value = parse_json(text);
  if (!value) return std::unexpected(value.error().within("the job's config is not JSON"));
  if (!value->is_object()) return wrong("the job's config", *value, "an object {\"name\", \"steps\", \"metadata\"}");
  return check_job_config(std::move(value->as_object()));
}

Result<JobConfig> check_job_config(json::object config) {
  if (const json::value* inner = config.if_contains("job_config"); inner != nullptr && inner->is_object()) {
    json::object unwrapped = inner->as_object();
    config = std::move(unwrapped);
  }
  const json::value none = nullptr;
  const Fields fields(config, "");
  JobConfig job;
  job.name = FUSED_TRY(fields.text("name"));
  if (!job.name.empty() && !is_name(job.name))
    return wrong("name", json::value(job.name),
                 "a letter, then letters, digits, '_', '.', ':' or '-', at most " + std::to_string(kNameBytesMax));
  const json::value* steps = fields.find("steps");
  if (steps == nullptr || !steps->is_array() || steps->as_array().empty())
    return wrong("steps", steps == nullptr ? none : *steps, "a list with at least one step");
  if (steps->as_array().size() > kJobStepsMax)
    return fail(ErrorKind::invalid_argument, "steps has " + std::to_string(steps->as_array().size()) +
                                                 " items; at most " + std::to_string(kJobStepsMax) + " are allowed");
  for (std::size_t i = 0; i < steps->as_array().size(); ++i)
    job.steps.push_back(FUSED_TRY(check_step(steps->as_array()[i], "steps[" + std::to_string(i) + "]")));
  if (const json::value* metadata = fields.find("metadata"); metadata != nullptr && !metadata->is_object())
    return wrong("metadata", *metadata, "an object or null");
  if (job.name.empty()) job.name = is_name(job.steps.front().name) ? job.steps.front().name : "job";
  job.source = std::move(config);
  return job;
}

}  // namespace fused
