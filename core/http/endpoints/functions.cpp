#include "http/endpoints/functions.hpp"

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

#include "auth/permissions.hpp"
#include "http/endpoints/revisions.hpp"
#include "storage/path_resolver.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::size_t kPage = 300;
constexpr std::size_t kPageMax = 1'000;
constexpr std::size_t kSkipMax = 1'000'000'000;

Error not_there(std::string_view what) {
  return {ErrorKind::not_found, "there is no function " + std::string(what), {}};
}

// The collection that a body names by id or name; the only one is everybody's own "default".
Result<std::string> collection_of(const BodyObject& body, const std::string& owner_id) {
  const auto id = FUSED_TRY(body.optional_text("collection_id"));
  if (id && *id != owner_id)
    return fail(ErrorKind::not_found,
                "there is no collection with the id '" + shown(*id) + "'; leave collection_id out");
  return body.text("collection_name", FunctionStore::kCollection);
}

Result<FunctionDraft> draft_of(const Request& request, const std::string& owner_id) {
  const BodyObject body = FUSED_TRY(BodyObject::of(request));
  FunctionDraft draft;
  draft.slug = FUSED_TRY(body.text("slug"));
  draft.udf_body = FUSED_TRY(body.text("udf_body"));
  draft.udf_type = FUSED_TRY(body.text("udf_type", "auto"));
  draft.collection_name = FUSED_TRY(collection_of(body, owner_id));
  draft.allow_public_read = FUSED_TRY(body.yes_or_no("allow_public_read", false));
  draft.allow_public_list = FUSED_TRY(body.yes_or_no("allow_public_list", false));
  draft.message = FUSED_TRY(body.text("message", ""));
  if (draft.udf_body.empty())
    return fail(ErrorKind::invalid_argument, "'udf_body' must be the function as a JSON text");
  return draft;
}

json::object collection_record(const Actor& actor, const Clock& clock) {
  return {{"id", actor.user_id},
          {"name", FunctionStore::kCollection},
          {"username", actor.username},
          {"access_scope", "team"},
          {"allow_public_read", false},
          {"allow_public_list", false},
          {"last_updated", utc_text(seconds_now(clock))},
          {"dashboard_body", nullptr},
          {"share_token", nullptr}};
}

}  // namespace

Result<SharedSaved> visible_function(const StateParts& parts, const Request& request) {
  const std::string id = path_value_of(request, "id");
  SharedSaved function = parts.functions->by_id(id);
  if (!function || !may_see(request.actor, function->owner.organisation))
    return std::unexpected(not_there("with the id '" + shown(id) + "'"));
  return function;
}

Result<SharedSaved> writable_function(const StateParts& parts, const Request& request) {
  SharedSaved function = FUSED_TRY(visible_function(parts, request));
  if (!may_write(request.actor, function->owner.organisation, function->owner.id))
    return std::unexpected(not_there("with the id '" + function->id + "' that you may change"));
  return function;
}

json::object function_record(const SavedFunction& function) {
  json::object record{{"id", function.id},
                      {"slug", function.slug},
                      {"udf_body", *function.udf_body},
                      {"udf_type", function.udf_type},
                      {"is_visible", true},
                      {"collection_id", function.owner.id},
                      {"collection_name", function.collection_name},
                      {"allow_public_read", function.allow_public_read},
                      {"allow_public_list", function.allow_public_list},
                      {"owning_user_id", function.owner.id},
                      {"owning_execution_environment_id", function.owner.organisation},
                      {"user_email", function.owner.email},
                      {"username", function.owner.username},
                      {"revision", function.revision},
                      {"created_at", utc_text(function.created_at)},
                      {"last_updated", utc_text(function.updated_at)}};
  if (function.is_from_folder()) record["served_from"] = function.file;
  return record;
}

asio::awaitable<Reply> SaveFunction::operator()(Request& request) const {
  auto draft = draft_of(request, request.actor.user_id);
  if (!draft) co_return error_reply(draft.error(), request);
  const Actor& actor = request.actor;
  auto work = [functions = parts.functions, draft = *std::move(draft),
               owner = FunctionOwner{actor.user_id, actor.email, actor.username, actor.organisation}] {
    return functions->save_new(owner, draft, owner.email);
  };
  const auto saved = co_await parts.thread->run(std::move(work));
  co_return reply_of_result(saved, request, [](const SharedSaved& function) { return function_record(*function); });
}

asio::awaitable<Reply> SaveOverFunction::operator()(Request& request) const {
  const auto before = writable_function(parts, request);
  if (!before) co_return error_reply(before.error(), request);
  auto draft = draft_of(request, (*before)->owner.id);
  if (!draft) co_return error_reply(draft.error(), request);
  auto work = [functions = parts.functions, id = (*before)->id, draft = *std::move(draft), by = request.actor.email,
               if_match = std::string(request.header("if-match"))] {
    return save_if_current(*functions, id, draft, by, if_match);
  };
  const auto saved = co_await parts.thread->run(std::move(work));
  co_return reply_of_save(saved, request);
}

asio::awaitable<Reply> DeleteFunction::operator()(Request& request) const {
  const auto function = writable_function(parts, request);
  if (!function) co_return error_reply(function.error(), request);
  // A folder's function is refused before its (never existing) tokens are touched.
  auto work = [parts = &parts, function = *function]() -> Status {
    if (!function->is_from_folder()) FUSED_CHECK(parts->shares->revoke_of_function(function->id));
    return parts->functions->remove(function->id);
  };
  const auto removed = co_await parts.thread->run(std::move(work));
  if (!removed) co_return error_reply(removed.error(), request);
  co_return json_reply(json::object{{"id", (*function)->id}, {"slug", (*function)->slug}, {"deleted", true}});
}

asio::awaitable<Reply> GetFunction::operator()(Request& request) const {
  co_return reply_of_result(visible_function(parts, request), request,
                            [](const SharedSaved& function) { return function_record(*function); });
}

asio::awaitable<Reply> GetFunctionByName::operator()(Request& request) const {
  const std::string slug = path_value_of(request, "slug");
  std::string collection = path_value_of(request, "collection");
  if (collection.empty()) collection = FunctionStore::kCollection;
  const Actor& actor = request.actor;
  SharedSaved found;
  switch (of) {
    case Of::email: found = parts.functions->by_email(path_value_of(request, "email"), collection, slug); break;
    case Of::handle:
      // Client 1.14.2 asks so for "team/name".
      if (path_value_of(request, "handle") == "team")
        found = parts.functions->in_organisation(actor.organisation, collection, slug);
      else
        found = parts.functions->by_handle(actor.organisation, path_value_of(request, "handle"), collection, slug);
      break;
    case Of::team: found = parts.functions->in_organisation(actor.organisation, collection, slug); break;
    case Of::everybody: break;
  }
  if (!found || !may_see(actor, found->owner.organisation))
    co_return error_reply(not_there("'" + shown(slug) + "' there that you may see"), request);
  co_return json_reply(function_record(*found));
}

asio::awaitable<Reply> ListFunctions::operator()(Request& request) const {
  FunctionFilter filter;
  const auto skip = whole_number_of(request, "skip", 0, kSkipMax);
  if (!skip) co_return error_reply(skip.error(), request);
  const auto limit = whole_number_of(request, "limit", kPage, kPageMax);
  if (!limit) co_return error_reply(limit.error(), request);
  filter.udf_type = request.query.value_or("udf_type", "");
  if (!filter.udf_type.empty() && filter.udf_type != "udf" && filter.udf_type != "app")
    co_return error_reply(
        {ErrorKind::invalid_argument, "'udf_type' is '" + shown(filter.udf_type) + "'; it must be 'udf' or 'app'", {}},
        request);
  filter.skip = *skip;
  filter.limit = *limit;
  filter.organisation = request.actor.organisation;
  if (whose == Whose::own || !may_list_all_of_organisation(request.actor)) filter.owner_id = request.actor.user_id;
  json::array records;
  if (whose != Whose::everybody && may_see(request.actor, filter.organisation))
    for (const auto& function : parts.functions->list(filter)) records.push_back(function_record(*function));
  co_return json_reply(std::move(records));
}

asio::awaitable<Reply> GetSharedFunction::operator()(Request& request) const {
  // One answer for unknown, revoked and not readable: nothing is learnt by asking.
  const auto token = parts.shares->valid(path_value_of(request, "token"));
  const SharedSaved function = token ? parts.functions->by_id(token->function_id) : nullptr;
  const auto maker = token ? parts.people->user(token->user_id) : std::nullopt;
  const bool in_scope = token && check_share_scope(*token, maker ? maker->organisation : "", request.actor).has_value();
  if (!function || !in_scope || !(token->public_read || may_see(request.actor, function->owner.organisation)))
    co_return error_reply(
        {ErrorKind::not_found, "this share token is unknown, or does not let you read the source", {}}, request);
  co_return json_reply(function_record(*function));
}

asio::awaitable<Reply> RefuseCodeProxy::operator()(Request& request) const {
  co_return error_reply(
      {ErrorKind::forbidden,
       "this server fetches no code from the internet; clone the repository and load the function from "
       "its file, or save it here and load it by its name",
       {}},
      request);
}

asio::awaitable<Reply> GetCollection::operator()(Request& request) const {
  if (as_list) {
    const auto skip = whole_number_of(request, "skip", 0, kSkipMax);
    if (!skip) co_return error_reply(skip.error(), request);
    json::array records;
    if (*skip == 0) records.push_back(collection_record(request.actor, *parts.clock));
    co_return json_reply(std::move(records));
  }
  const std::string name = path_value_of(request, "name");
  if (name != FunctionStore::kCollection)
    co_return error_reply(
        {ErrorKind::not_found, "there is no collection '" + shown(name) + "'; the only one is 'default'", {}}, request);
  co_return json_reply(collection_record(request.actor, *parts.clock));
}

}  // namespace fused
