// What a client sends with a job: the config, variables, who is told of its end. What is taken is taken again as it was
// kept; what is refused says why.
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdlib>
#include <string>

#include "jobs/job_config.hpp"
#include "jobs/job_hook.hpp"
#include "jobs/job_options.hpp"

using namespace fused;
namespace json = boost::json;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = parse_job_config(text);
  if (!config && config.error().message.empty()) std::abort();
  if (config) {
    if (config->steps.empty() || config->steps.size() > kJobStepsMax || config->name.empty()) std::abort();
    std::int64_t tasks = 0;
    for (const StepPlan& step : config->plan()) {
      if (step.tasks < 1) std::abort();
      tasks += step.tasks;
    }
    if (tasks < static_cast<std::int64_t>(config->steps.size())) std::abort();
    const auto again = parse_job_config(json::serialize(config->source));
    if (!again || again->name != config->name || again->steps.size() != config->steps.size()) std::abort();
  }
  boost::system::error_code error;
  const json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error) return 0;
  if (const auto hooks = read_hooks(value)) {
    if (hooks->size() > kJobHooksMax) std::abort();
    const json::value kept = hooks_json(*hooks);
    if (hooks_of_json(&kept).size() != hooks->size()) std::abort();
  } else if (hooks.error().message.empty()) {
    std::abort();
  }
  if (const auto variables = read_environment(value)) {
    for (const auto& [name, content] : *variables)
      if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos) std::abort();
  } else if (variables.error().message.empty()) {
    std::abort();
  }
  return 0;
}
