#include "jobs/job_plan_json.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>

#include "base/json_parse.hpp"

namespace fused {
namespace json = boost::json;

std::string plan_json(const JobSpec& job) {
  json::array steps;
  for (const StepPlan& step : job.steps)
    steps.push_back(json::object{
        {"tasks", step.tasks}, {"parallel_max", step.parallel_max}, {"ignore_chunk_error", step.ignore_chunk_error}});
  return json::serialize(json::object{
      {"steps", std::move(steps)},
      {"share", {{"cores", job.task_share.cores}, {"memory_bytes", job.task_share.memory_bytes}}},
      {"parallel_max", job.parallel_max},
      {"run_ms_max", static_cast<std::int64_t>(job.run_max.count())},
      {"retries", {{"function_max", job.retries.function_max}, {"platform_max", job.retries.platform_max}}}});
}

Status read_plan(std::string_view text, JobSpec& job) {
  const json::value plan = FUSED_TRY(parse_json(text));
  // Our own writing; where it is not as written the row is damaged.
  try {
    const auto number = [](const json::value& object, const char* name) {
      return json::value_to<std::int64_t>(object.at(name));
    };
    const auto small = [&](const json::value& object, const char* name) {
      return static_cast<int>(number(object, name));
    };
    job.steps.clear();
    for (const json::value& step : plan.at("steps").as_array())
      job.steps.push_back(
          {number(step, "tasks"), small(step, "parallel_max"), step.at("ignore_chunk_error").as_bool()});
    job.task_share = {small(plan.at("share"), "cores"), number(plan.at("share"), "memory_bytes")};
    job.parallel_max = small(plan, "parallel_max");
    job.run_max = std::chrono::milliseconds(number(plan, "run_ms_max"));
    job.retries = {small(plan.at("retries"), "function_max"), small(plan.at("retries"), "platform_max")};
  } catch (const std::exception& error) {
    return fail(ErrorKind::internal, "the plan of job " + job.id + " in state.db is damaged; restore a backup",
                error.what());
  }
  return {};
}

}  // namespace fused
