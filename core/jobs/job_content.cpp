#include "jobs/job_content.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "run/run_request.hpp"

namespace fused {
namespace json = boost::json;
namespace {

// The steps of an ingest are functions like others: their worker, log folder and limits are the same.
constexpr const char* kPartitionCode =
    "@fused.udf\n"
    "def udf(step):\n"
    "    from fused._jobs.steps import run_partition\n"
    "\n"
    "    return run_partition(step)\n";

Result<StepConfig> step_config(const JobStep& step) {
  json::object source = step.source;
  if (step.kind == StepKind::udf) {
    source.erase("input");
    return parse_step_config(json::serialize(source));
  }
  const json::object udf{{"name", step.kind == StepKind::partition_geospatial ? "ingest" : "ingest_nongeospatial"},
                         {"code", kPartitionCode},
                         {"entrypoint", "udf"},
                         {"headers", json::array()}};
  StepConfig made = FUSED_TRY(parse_step_config(json::serialize(json::object{{"type", "udf"}, {"udf", udf}})));
  made.parameters["step"] = std::move(source);
  return made;
}

void take_items(const JobStep& step, StepContent& content) {
  if (step.kind != StepKind::udf || !step.inputs) return;
  content.has_items = true;
  const json::array& input = step.source.at("input").as_array();
  content.ends.reserve(input.size());
  for (const json::value& item : input) {
    content.items += json::serialize(item);
    content.ends.push_back(content.items.size());
  }
  content.items.shrink_to_fit();
}

}  // namespace

std::string_view StepContent::item(std::int64_t number) const {
  if (!has_items || number < 0 || static_cast<std::size_t>(number) >= ends.size()) return {};
  const auto at = static_cast<std::size_t>(number);
  const std::size_t from = at == 0 ? 0 : ends[at - 1];
  return std::string_view(items).substr(from, ends[at] - from);
}

Result<SharedContent> content_of(const JobConfig& config, const User& owner) {
  auto content = std::make_shared<JobContent>();
  for (std::size_t i = 0; i < config.steps.size(); ++i) {
    auto read = step_config(config.steps[i]);
    if (!read) return std::unexpected(read.error().within("steps[" + std::to_string(i) + "]"));
    StepContent step;
    take_items(config.steps[i], step);
    FunctionSource& function = read->function;
    function.owner_id = owner.id;
    function.owner_email = owner.email;
    function.owner_username = owner.username;
    function.organisation = owner.organisation;
    content->bytes += step.items.size() + step.ends.size() * sizeof(std::size_t) + function.code.size() + 1'024;
    step.parameters = std::move(read->parameters);
    step.function = std::make_shared<const FunctionSource>(std::move(function));
    content->steps.push_back(std::move(step));
  }
  return content;
}

SharedContent JobContents::find(const std::string& job_id) {
  const auto found = by_id_.find(job_id);
  if (found == by_id_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, found->second);
  return kept_.front().content;
}

void JobContents::keep(const std::string& job_id, SharedContent content) {
  forget(job_id);
  bytes_ += content->bytes;
  kept_.push_front({job_id, std::move(content)});
  by_id_[job_id] = kept_.begin();
  while (bytes_ > kBytesMax && kept_.size() > 1) forget(std::string(kept_.back().job_id));
}

void JobContents::forget(const std::string& job_id) {
  const auto found = by_id_.find(job_id);
  if (found == by_id_.end()) return;
  bytes_ -= found->second->content->bytes;
  kept_.erase(found->second);
  by_id_.erase(found);
}

}  // namespace fused
