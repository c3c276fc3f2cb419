#include "http/endpoints/share_tokens.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "auth/permissions.hpp"
#include "base/json_parse.hpp"
#include "http/endpoints/table_routes.hpp"
#include "storage/path_resolver.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::size_t kPage = 25;
constexpr std::size_t kPageMax = 1'000;
constexpr std::size_t kSkipMax = 1'000'000'000;

json::object token_record(const StateParts& parts, const ShareToken& token) {
  const auto maker = parts.people->user(token.user_id);
  const SharedSaved function = parts.functions->by_id(token.function_id);
  json::object record{{"token", parts.shares->text_of(token)},
                      {"id", token.id},
                      {"udf_id", token.function_id},
                      {"udf_email", function ? function->owner.email : ""},
                      {"udf_slug", function ? function->slug : ""},
                      {"enabled", token.enabled},
                      {"cache", token.cache},
                      {"public_read", token.public_read},
                      {"access_scope", token.access_scope},
                      {"client_id", nullptr},
                      {"metadata_json", json::object()},
                      {"owning_user_id", token.user_id},
                      {"owning_execution_environment_id", maker ? maker->organisation : ""},
                      {"created_at", utc_text(token.created_at)},
                      {"last_updated", utc_text(token.updated_at)},
                      {"expires_at", utc_or_null(token.expires_at)}};
  if (token.client_id) record["client_id"] = *token.client_id;
  if (parts.tables && token.function_id.starts_with(kSharedTable)) {
    const auto table = parts.tables->by_id(std::string_view(token.function_id).substr(kSharedTable.size()));
    record["table"] = table ? table->name : "";
  }
  if (token.metadata_json)
    if (auto metadata = parse_json(*token.metadata_json, kBodyDepthMax)) record["metadata_json"] = *std::move(metadata);
  return record;
}

// Takes what the body names over into `token`.
Status take_changes(const BodyObject& body, ShareToken& token, std::int64_t now) {
  token.enabled = FUSED_TRY(body.yes_or_no("enabled", token.enabled));
  token.cache = FUSED_TRY(body.yes_or_no("cache", token.cache));
  token.public_read = FUSED_TRY(body.yes_or_no("public_read", token.public_read));
  token.access_scope = FUSED_TRY(body.text("access_scope", token.access_scope));
  if (auto client_id = FUSED_TRY(body.optional_text("client_id"))) token.client_id = std::move(client_id);
  if (const json::value* metadata = body.find("metadata_json")) token.metadata_json = json::serialize(*metadata);
  if (const auto expiry = FUSED_TRY(expiry_of(body, now))) token.expires_at = *expiry;
  return {};
}

Result<SharedSaved> function_to_share(const StateParts& parts, const Request& request, const BodyObject& body) {
  const std::string id = FUSED_TRY(body.text("udf_id"));
  const std::string email = FUSED_TRY(body.text("udf_email", request.actor.email));
  const std::string slug = FUSED_TRY(body.text("udf_slug"));
  if (id.empty() && slug.empty())
    return fail(ErrorKind::invalid_argument,
                "name the function to share by 'udf_id', or by 'udf_email' and 'udf_slug'");
  SharedSaved function =
      id.empty() ? parts.functions->by_email(email, FunctionStore::kCollection, slug) : parts.functions->by_id(id);
  if (!function || !may_write(request.actor, function->owner.organisation, function->owner.id))
    return fail(ErrorKind::not_found,
                "there is no function '" + shown(id.empty() ? slug : id) + "' that you may share");
  return function;
}

// The record behind {token}, when the actor may manage it.
Result<ShareToken> manageable(const StateParts& parts, const Request& request) {
  auto token = parts.shares->record(path_value_of(request, "token"));
  const auto maker = token ? parts.people->user(token->user_id) : std::nullopt;
  if (!maker || !may_write(request.actor, maker->organisation, maker->id))
    return fail(ErrorKind::not_found, "there is no such share token that you may manage");
  return *std::move(token);
}

}  // namespace

asio::awaitable<Reply> CreateShareToken::operator()(Request& request) const {
  auto wanted = [&]() -> Result<ShareToken> {
    const BodyObject body = FUSED_TRY(BodyObject::of(request));
    const SharedSaved function = FUSED_TRY(function_to_share(parts, request, body));
    ShareToken token;
    token.function_id = function->id;
    token.user_id = request.actor.user_id;
    FUSED_CHECK(take_changes(body, token, seconds_now(*parts.clock)));
    return token;
  }();
  if (!wanted) co_return error_reply(wanted.error(), request);
  auto work = [parts = &parts, token = *std::move(wanted)]() -> Result<ShareToken> {
    // It may have been deleted while this waited for its turn.
    if (!parts->functions->by_id(token.function_id)) return fail(ErrorKind::not_found, "the function is gone");
    return parts->shares->create(token);
  };
  const auto made = co_await parts.thread->run(std::move(work));
  co_return reply_of_result(made, request, [&](const ShareToken& token) { return token_record(parts, token); });
}

asio::awaitable<Reply> ListShareTokens::operator()(Request& request) const {
  const auto skip = whole_number_of(request, "skip", 0, kSkipMax);
  if (!skip) co_return error_reply(skip.error(), request);
  const auto limit = whole_number_of(request, "limit", kPage, kPageMax);
  if (!limit) co_return error_reply(limit.error(), request);
  const Actor& actor = request.actor;
  std::vector<ShareToken> tokens;
  if (all && actor.role == Role::owner) {
    tokens = parts.shares->all();
    std::erase_if(tokens, [&](const ShareToken& token) {
      const auto maker = parts.people->user(token.user_id);
      return !maker || maker->organisation != actor.organisation;
    });
  } else {
    tokens = parts.shares->of_user(actor.user_id);
  }
  json::array records;
  for (std::size_t i = *skip; i < tokens.size() && records.size() < *limit; ++i)
    records.push_back(token_record(parts, tokens[i]));
  co_return json_reply(std::move(records));
}

asio::awaitable<Reply> GetShareToken::operator()(Request& request) const {
  co_return reply_of_result(manageable(parts, request), request,
                            [&](const ShareToken& token) { return token_record(parts, token); });
}

asio::awaitable<Reply> UpdateShareToken::operator()(Request& request) const {
  auto wanted = [&]() -> Result<BodyObject> {
    ShareToken token = FUSED_TRY(manageable(parts, request));
    BodyObject body = FUSED_TRY(BodyObject::of(request));
    FUSED_CHECK(take_changes(body, token, seconds_now(*parts.clock)));
    return body;
  }();
  if (!wanted) co_return error_reply(wanted.error(), request);
  // On what is stored when its turn comes: another change may have been made meanwhile.
  auto work = [shares = parts.shares, clock = parts.clock, name = path_value_of(request, "token"),
               body = *std::move(wanted)]() -> Result<ShareToken> {
    auto token = shares->record(name);
    if (!token) return fail(ErrorKind::not_found, "there is no such share token that you may manage");
    FUSED_CHECK(take_changes(body, *token, seconds_now(*clock)));
    return shares->update(*token);
  };
  const auto changed = co_await parts.thread->run(std::move(work));
  co_return reply_of_result(changed, request, [&](const ShareToken& token) { return token_record(parts, token); });
}

asio::awaitable<Reply> RevokeShareToken::operator()(Request& request) const {
  const auto token = manageable(parts, request);
  if (!token) co_return error_reply(token.error(), request);
  const json::object record = token_record(parts, *token);
  auto work = [shares = parts.shares, id = token->id] { return shares->revoke(id); };
  const auto revoked = co_await parts.thread->run(std::move(work));
  if (!revoked) co_return error_reply(revoked.error(), request);
  co_return json_reply(record);
}

}  // namespace fused
