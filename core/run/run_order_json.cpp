#include "run/run_order_json.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "logs/json_text.hpp"

namespace fused {
namespace {

void member(std::string& out, std::string_view name, std::string_view text) {
  out += ",\"";
  out += name;
  out += "\":";
  append_json_string(out, text);
}

void udf_members(std::string& out, const FunctionSource& f) {
  out += "{\"hash\":";
  append_json_string(out, f.code_hash);
  member(out, "name", f.name);
  member(out, "entrypoint", f.entrypoint);
  member(out, "id", f.id);
  member(out, "collection_name", f.collection_name);
  out += ",\"parameters\":";
  out += f.parameters.empty() ? "{}" : boost::json::serialize(f.parameters);
}

std::string udf_full(const FunctionSource& f) {
  std::string out;
  out.reserve(f.code.size() + 512);
  udf_members(out, f);
  member(out, "code", f.code);
  out += ",\"headers\":[";
  for (std::size_t i = 0; i < f.headers.size(); ++i) {
    out += i ? ",{\"module_name\":" : "{\"module_name\":";
    append_json_string(out, f.headers[i].module_name);
    member(out, "source_code", f.headers[i].source_code);
    out += '}';
  }
  out += "]}";
  return out;
}

void pairs(std::string& out, const std::vector<std::pair<std::string, std::string>>& items) {
  out += '[';
  for (std::size_t i = 0; i < items.size(); ++i) {
    out += i ? ",[" : "[";
    append_json_string(out, items[i].first);
    out += ',';
    append_json_string(out, items[i].second);
    out += ']';
  }
  out += ']';
}

void format_members(std::string& out, const WantedFormat& format) {
  out += ",\"formats\":[";
  for (std::size_t i = 0; i < format.preferences.size(); ++i) {
    if (i) out += ',';
    append_json_string(out, format.preferences[i]);
  }
  out += ']';
  member(out, "format_from", format.from);
  if (format.dtype_out) {
    out += ",\"dtype_out\":{\"vector\":";
    append_json_string(out, format.dtype_out->vector);
    member(out, "raster", format.dtype_out->raster);
    out += '}';
  } else {
    out += ",\"dtype_out\":null";
  }
}

void job_members(std::string& out, const TaskOfJob& job) {
  out += ",\"batch\":true,\"task\":" + std::to_string(job.task) + ",\"attempt\":" + std::to_string(job.attempt) +
         ",\"submitted_ms\":" + std::to_string(job.submitted_ms);
  member(out, "job_id", job.job_id);
  out += ",\"environment\":{";
  for (std::size_t i = 0; i < job.environment.size(); ++i) {
    if (i) out += ',';
    append_json_string(out, job.environment[i].first);
    out += ':';
    append_json_string(out, job.environment[i].second);
  }
  out += '}';
}

void context_member(std::string& out, const RunRequest& r, const RunFrameContext& context) {
  out += ",\"context\":{\"user_email\":";
  append_json_string(out, r.actor.email);
  member(out, "owner_email", r.function->owner_email);
  member(out, "organisation", r.function->organisation);
  member(out, "execution_environment_id", context.execution_environment_id);
  out += ",\"recursion\":" + std::to_string(r.recursion);
  out += ",\"share_token\":";
  out += r.actor.kind == ActorKind::share_token ? "true" : "false";
  out += ",\"headers\":{";
  for (std::size_t i = 0; i < r.headers.size(); ++i) {
    if (i) out += ',';
    append_json_string(out, r.headers[i].first);
    out += ':';
    append_json_string(out, r.headers[i].second);
  }
  out += '}';
  member(out, "run_token", context.run_token);
  member(out, "cache_secret", context.cache_secret);
  member(out, "base_url", context.base_url);
  if (r.job) job_members(out, *r.job);
  out += '}';
}

}  // namespace

std::string worker_key(std::string_view organisation, std::string_view owner_id) {
  return std::string(organisation) + '\n' + std::string(owner_id);
}

RunOrder make_run_order(const RunRequest& r, const RunFrameContext& context) {
  const FunctionSource& f = *r.function;
  RunOrder order;
  order.function_hash = f.code_hash;
  udf_members(order.udf_known, f);
  order.udf_known += '}';
  order.udf_full = [&f] { return udf_full(f); };
  order.worker_key = worker_key(f.organisation, f.owner_id);
  order.caller = r.caller;
  order.fresh = r.fresh;
  order.nested = r.nested;
  if (r.job) {
    order.beside = r.limits;
    order.is_promoted = r.job->is_promoted;
    order.job_folder = r.job->folder;
  }

  std::string& out = order.rest;
  out.reserve(768);
  out += "\"run_id\":";
  append_json_string(out, r.run_id);
  out += ",\"query\":";
  pairs(out, r.query);
  out += ",\"typed\":";
  out += r.typed.empty() ? "{}" : boost::json::serialize(r.typed);
  if (r.job && !r.job->item_json.empty()) out += ",\"item\":" + r.job->item_json;
  if (r.tile)
    out += ",\"tile\":[" + std::to_string(r.tile->z) + ',' + std::to_string(r.tile->x) + ',' +
           std::to_string(r.tile->y) + ']';
  else
    out += ",\"tile\":null";
  format_members(out, r.format);
  out += r.async_client ? ",\"async_client\":true" : ",\"async_client\":false";
  out += r.profile ? ",\"profile\":true" : ",\"profile\":false";
  out += ",\"limits\":{\"wall_ms\":" + std::to_string(r.limits.wall_ms) +
         ",\"result_bytes\":" + std::to_string(r.limits.result_bytes) +
         ",\"memory_bytes\":" + std::to_string(r.limits.memory_bytes) +
         ",\"worker_growth_bytes\":" + std::to_string(context.worker_growth_bytes) + '}';
  context_member(out, r, context);
  return order;
}

std::string parameters_json(const RunRequest& r) {
  boost::json::object all = r.function->parameters;
  for (const auto& [name, value] : r.query) all[name] = value;
  for (const auto& item : r.typed) all[item.key()] = item.value();
  if (r.job && !r.job->item_json.empty()) {
    boost::system::error_code error;
    boost::json::value item = boost::json::parse(r.job->item_json, error);  // our own writing
    if (item.is_object())
      for (auto& part : item.get_object()) all[part.key()] = std::move(part.value());
    else
      all["item"] = std::move(item);
  }
  if (r.tile) {
    all["z"] = r.tile->z;
    all["x"] = r.tile->x;
    all["y"] = r.tile->y;
  }
  return boost::json::serialize(all);
}

}  // namespace fused
