#include "http/endpoints/run.hpp"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>

#include "base/ids.hpp"
#include "base/json_parse.hpp"
#include "base/text.hpp"
#include "http/endpoints/promoted_reply.hpp"
#include "http/endpoints/run_reply.hpp"
#include "logs/json_text.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

// The official client gives up after 5 s and takes 202 as "ask again".
constexpr auto kStartPatience = std::chrono::milliseconds(2'000);
constexpr auto kPollPatienceStep = std::chrono::milliseconds(3'000);
constexpr std::size_t kParameterBytesMax = 4 << 20;

std::string path_value(const Request& request, std::string_view name) {
  const auto found = request.path_values.find(name);
  return found == request.path_values.end() ? std::string() : found->second;
}

Result<std::int64_t> whole_number(std::string_view text, std::string_view name) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    return fail(ErrorKind::not_found, "tile number " + std::string(name) + " is '" + std::string(text.substr(0, 40)) +
                                          "', not a whole number");
  return value;
}

// {z}/{x}/{y}, where y may carry the extension. Nothing when the route has no tile.
Result<std::optional<TileId>> tile_of(const Request& request, std::string& extension) {
  const std::string z = path_value(request, "z");
  if (z.empty()) return std::nullopt;
  auto [y, ext] = split_extension(path_value(request, "y"));
  if (!ext.empty()) extension = ext;
  return FUSED_TRY(check_tile(FUSED_TRY(whole_number(z, "z")), FUSED_TRY(whole_number(path_value(request, "x"), "x")),
                              FUSED_TRY(whole_number(y, "y"))));
}

Status take_query(const Request& request, RunRequest& run, const std::string& extension) {
  run.cache = FUSED_TRY(cache_wish_of(request.query.items));
  run.format = FUSED_TRY(wanted_format(request.query.items, extension));
  for (const auto& [name, value] : request.query.items) {
    if (is_reserved_query_name(name)) continue;
    if (value.size() > kParameterBytesMax)
      return fail(ErrorKind::too_large, "parameter '" + name.substr(0, 60) + "' has " + std::to_string(value.size()) +
                                            " bytes; the limit is " + std::to_string(kParameterBytesMax) +
                                            " (send large values in a POST body)");
    run.query.emplace_back(name, value);
  }
  return {};
}

// A POST with a JSON object sets parameters too.
Status take_body(const Request& request, RunRequest& run) {
  if (request.method != Method::post || request.body.empty()) return {};
  auto body = parse_json(request.body.view());
  if (!body) return fail(ErrorKind::invalid_argument, "the body is not JSON: " + body.error().message);
  if (!body->is_object()) return fail(ErrorKind::invalid_argument, "the body must be a JSON object of parameters");
  run.typed = std::move(body->get_object());
  return {};
}

int recursion_of(const Request& request) {
  int value = 1;
  const std::string_view text = request.header("fused-recursion");
  std::from_chars(text.data(), text.data() + text.size(), value);
  // A run cannot understate how deep it is.
  return std::max({1, std::min(value, 1'000), request.actor.kind == ActorKind::run ? request.actor.recursion + 1 : 1});
}

Status take_headers(const Request& request, RunRequest& run) {
  const std::string_view id = request.header("fused-run-id");
  run.run_id_given = !id.empty();
  if (run.run_id_given && !is_uuid(id))
    return fail(ErrorKind::invalid_argument, "Fused-Run-Id '" + std::string(id.substr(0, 60)) + "' is not a UUID");
  run.run_id = run.run_id_given ? std::string(id) : new_uuid();
  const std::string_view on_timeout = request.header("fused-on-timeout");
  if (on_timeout == "job")
    run.on_timeout = OnTimeout::job;
  else if (on_timeout == "function")
    run.on_timeout = OnTimeout::function;
  else if (!on_timeout.empty() && on_timeout != "error")
    return fail(ErrorKind::invalid_argument, "Fused-On-Timeout is '" + printable(on_timeout.substr(0, 40)) +
                                                 "'; it may be job, function (what its decorator says) or error");
  run.folder_id = run.run_id;
  run.x_request_id = request.request_id;
  run.recursion = recursion_of(request);
  run.async_client = request.header("user-agent").find("aiohttp") != std::string_view::npos;
  run.fresh = request.header("fused-fresh-worker") == "true";
  run.nested = request.actor.kind == ActorKind::run;
  for (const auto& [name, value] : request.headers)
    if (name != "authorization" && name != "cookie") run.headers.emplace_back(name, value);
  return {};
}

Reply running(const RunParts& parts, const std::string& run_id, const Request& request) {
  const auto conversation = parts.registry->conversation(run_id, request.actor);
  return still_running(run_id, conversation ? conversation->log_dir : std::string());
}

asio::awaitable<Reply> perform(RunParts& parts, Request& request, RunRequest run, bool polled,
                               ReplyFor reply_for = ReplyFor::the_caller) {
  const ReplyForm form = polled ? ReplyForm::polling : run.tile ? ReplyForm::tile : ReplyForm::direct;
  run.limits = parts.limits;
  run.caller = run.actor.kind == ActorKind::share_token ? request.peer : run.actor.user_id;
  if (run.cache.explain && parts.cached) {
    const auto told = co_await parts.cached->explain(std::move(run));
    co_return told ? Reply::json(json::serialize(*told)).with("cache-control", "no-store")
                   : run_refusal(told.error(), request);
  }
  if (!polled && !run.run_id_given && run.on_timeout == OnTimeout::error) {
    const auto ticket = std::make_shared<RunTicket>();
    if (request.on_disconnect)
      request.on_disconnect([ticket] { ticket->cancel(RunEnd::cancelled, "the caller went away"); });
    co_return reply_of(co_await parts.runs->run(std::move(run), ticket), form, reply_for, request);
  }
  const std::string run_id = run.run_id;
  const bool at_once = polled && request.header("prefer").find("respond-async") != std::string_view::npos;
  const auto patience = at_once  ? std::chrono::milliseconds(0)
                        : polled ? kStartPatience
                                 : std::chrono::milliseconds(run.limits.wall_ms) + std::chrono::minutes(10);
  const auto answer = co_await parts.registry->start(std::move(run), patience, polled, request.on_disconnect);
  co_return answer ? reply_of(*answer, form, reply_for, request) : running(parts, run_id, request);
}

// Everything but the function: parameters, tile, format, headers.
Status take_request(const Request& request, RunRequest& run) {
  std::string extension =
      path_value(request, "leaf").empty() ? std::string() : split_extension(path_value(request, "leaf")).second;
  run.tile = FUSED_TRY(tile_of(request, extension));
  FUSED_CHECK(take_query(request, run, extension));
  return take_headers(request, run);
}

// The entry point may be left out in one and be named in the other.
bool is_text_of(const FunctionSource& saved, const FunctionSource& sent) {
  const auto same = [](const HeaderModule& a, const HeaderModule& b) {
    return a.module_name == b.module_name && a.source_code == b.source_code;
  };
  return saved.code == sent.code && std::ranges::equal(saved.headers, sent.headers, same);
}

}  // namespace

Result<RunRequest> ad_hoc_request(const RunParts& parts, const Request& request) {
  RunRequest run;
  run.actor = request.actor;
  const auto parsed = parse_json(request.body.view());
  if (!parsed || !parsed->is_object())
    return fail(ErrorKind::invalid_argument,
                "the body is not a JSON object" + (parsed ? std::string() : ": " + parsed.error().message));
  const json::value& body = *parsed;
  const auto member = [&](std::string_view name) -> std::string {
    const auto* value = body.get_object().if_contains(name);
    return value && value->is_string() ? std::string(value->get_string()) : std::string();
  };
  const std::string step = member("step_config");
  if (step.empty()) return fail(ErrorKind::invalid_argument, "the body has no 'step_config' (a text that holds JSON)");
  StepConfig config = FUSED_TRY(parse_step_config(step));
  FUSED_CHECK(take_request(request, run));
  run.query.clear();  // this form has its parameters in the step alone
  std::vector<std::pair<std::string, std::string>> format;
  for (const char* name : {"format", "dtype_out_vector", "dtype_out_raster"})
    if (auto value = member(name); !value.empty()) format.emplace_back(name, std::move(value));
  if (!format.empty()) run.format = FUSED_TRY(wanted_format(format, ""));
  run.typed = std::move(config.parameters);
  if (const auto* profile = body.get_object().if_contains("profile"))
    run.profile = profile->is_bool() && profile->get_bool();
  config.function.owner_id = request.actor.user_id;
  config.function.owner_email = request.actor.email;
  config.function.owner_username = request.actor.username;
  config.function.organisation = request.actor.organisation;
  // A client that runs a saved function by its name sends the text it has loaded: the log says which one it is.
  if (!config.saved_id.empty())
    if (const auto saved = parts.functions.by_id(request.actor, config.saved_id);
        saved && is_text_of(*saved, config.function)) {
      config.function.id = saved->id;
      config.function.revision = saved->revision;
    }
  run.function = std::make_shared<const FunctionSource>(std::move(config.function));
  return run;
}

namespace {

Result<RunRequest> named_request(const Request& request, SharedFunction function, Actor actor) {
  RunRequest run;
  run.function = std::move(function);
  run.actor = std::move(actor);
  FUSED_CHECK(take_request(request, run));
  FUSED_CHECK(take_body(request, run));
  return run;
}

// Below a share token and a revision the leaf says "the result", and its extension the format.
Status check_leaf(const Request& request, std::string_view of) {
  const std::string stem = split_extension(path_value(request, "leaf")).first;
  if (stem.empty() || stem == "run" || stem == "file") return {};
  return fail(ErrorKind::not_found,
              "there is nothing at '" + printable(stem.substr(0, 60)) + "' of a " + std::string(of) +
                  "; it is run at run, run/file or run/tiles/{z}/{x}/{y}, each with an extension or not "
                  "(run/file.json)" +
                  (of == "share token" ? ", and shown at map and tilejson.json" : ""));
}

}  // namespace

std::pair<std::string, std::string> split_extension(std::string_view leaf) {
  const std::size_t dot = leaf.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || dot + 1 == leaf.size()) return {std::string(leaf), {}};
  return {std::string(leaf.substr(0, dot)), std::string(leaf.substr(dot + 1))};
}

asio::awaitable<Reply> RunAdHoc::operator()(Request& request) const {
  auto run = ad_hoc_request(parts, request);
  if (!run) co_return run_refusal(run.error(), request);
  co_return co_await perform(parts, request, std::move(*run), polled);
}

asio::awaitable<Reply> PollRun::operator()(Request& request) const {
  const std::string run_id = path_value(request, "run_id");
  const auto answer = co_await parts.registry->poll(run_id, request.actor, kPollPatienceStep);
  // A run that became a job is answered by that, also when the registry does not know it any more.
  const bool unknown = answer && !*answer && (*answer).error().kind == ErrorKind::not_found;
  const bool promoted = answer && *answer && (*answer)->is_promoted();
  if (parts.jobs && (unknown || promoted)) {
    std::string job_id = promoted ? (*answer)->job_id : run_id;
    // The first to hear of it is told at once; later polls have nothing else to wait for.
    const auto patience = promoted ? std::chrono::milliseconds(0) : kPollPatienceStep;
    if (auto reply = co_await answer_of_job(*parts.jobs, request, std::move(job_id), patience))
      co_return promoted && reply->status == 202 ? reply_of(*answer, ReplyForm::polling, ReplyFor::the_caller, request)
                                                 : *std::move(reply);
  }
  co_return answer ? reply_of(*answer, ReplyForm::polling, ReplyFor::the_caller, request)
                   : running(parts, run_id, request);
}

asio::awaitable<Reply> RunOutput::operator()(Request& request) const {
  boost::system::error_code error;
  const json::value body = json::parse(json::string_view(request.body.data(), request.body.size()), error);
  const auto* member = !error && body.is_object() ? body.get_object().if_contains("log_dir") : nullptr;
  if (!member || !member->is_string())
    co_return Reply::error(
        {ErrorKind::invalid_argument, "the body must be {\"log_dir\": \"…\"}, as x-fused-metadata names it", {}},
        request.request_id);
  const std::string log_dir(member->get_string());
  // The last segment is the run's id, with ".2" and so on for a further attempt.
  const std::string folder = log_dir.substr(log_dir.rfind('/') + 1);
  const auto conversation = parts.registry->conversation(folder.substr(0, folder.find('.')), request.actor);
  if (!conversation || conversation->log_dir != log_dir)
    co_return Reply::error({ErrorKind::not_found,
                            "none of your runs of the last minute has the log folder '" + log_dir.substr(0, 200) + "'",
                            {}},
                           request.request_id);
  std::string text = "{\"stdout\":";
  append_json_string(text, conversation->out.render());
  text += ",\"stderr\":";
  append_json_string(text, conversation->err.render());
  co_return Reply::json(text + '}');
}

asio::awaitable<Reply> RunSaved::operator()(Request& request) const {
  std::string name = path_value(request, "name");
  const std::string leaf = path_value(request, "leaf");
  Result<SharedFunction> function = fail(ErrorKind::not_found, "");
  if (!leaf.empty()) {
    // A function may be called "v1.json": the whole leaf is tried first.
    function = parts.functions.by_name(request.actor, path_value(request, "email"), leaf);
    if (function)
      request.path_values["leaf"] = "file";
    else
      name = split_extension(leaf).first;
  }
  if (!function) function = parts.functions.by_name(request.actor, path_value(request, "email"), name);
  if (!function) co_return run_refusal(function.error(), request);
  auto run = named_request(request, std::move(*function), request.actor);
  if (!run) co_return run_refusal(run.error(), request);
  co_return co_await perform(parts, request, std::move(*run), false);
}

asio::awaitable<Reply> RunLite::operator()(Request& request) const {
  auto function = parts.functions.by_name(request.actor, "", path_value(request, "name"));
  if (!function) co_return run_refusal(function.error(), request);
  auto run = named_request(request, std::move(*function), request.actor);
  if (!run) co_return run_refusal(run.error(), request);
  auto format = wanted_format({{"format", "json"}}, "");
  if (!format) co_return run_refusal(format.error(), request);
  run->format = *std::move(format);
  co_return co_await perform(parts, request, std::move(*run), false);
}

asio::awaitable<Reply> RunShared::operator()(Request& request) const {
  if (const auto known = check_leaf(request, "share token"); !known) co_return run_refusal(known.error(), request);
  auto shared = parts.functions.by_share_token(path_value(request, "token"), request.actor);
  if (!shared) co_return run_refusal(shared.error(), request);
  const auto reply_for = shared->for_everybody ? ReplyFor::anybody_with_the_address : ReplyFor::the_caller;
  auto run = named_request(request, std::move(shared->function), std::move(shared->actor));
  if (!run) co_return run_refusal(run.error(), request);
  run->not_from_cache = !shared->cache;
  co_return co_await perform(parts, request, std::move(*run), false, reply_for);
}

asio::awaitable<Reply> RunRevision::operator()(Request& request) const {
  if (const auto known = check_leaf(request, "revision"); !known) co_return run_refusal(known.error(), request);
  auto function =
      co_await parts.functions.by_revision(request.actor, path_value(request, "id"), path_value(request, "revision"));
  if (!function) co_return run_refusal(function.error(), request);
  auto run = named_request(request, std::move(*function), request.actor);
  if (!run) co_return run_refusal(run.error(), request);
  co_return co_await perform(parts, request, std::move(*run), false);
}

}  // namespace fused
