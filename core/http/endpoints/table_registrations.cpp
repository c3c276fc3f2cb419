// Which tables there are, and who may see them.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "auth/permissions.hpp"
#include "http/endpoints/state_parts.hpp"
#include "http/endpoints/table_routes.hpp"
#include "storage/path_resolver.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

json::object record_of(const TableParts& parts, const RegisteredTable& table) {
  const auto user = parts.people->user(table.user_id);
  return {{"id", table.id},
          {"name", table.name},
          {"url", table.url},
          {"registered_by", user ? user->email : ""},
          {"created_at", utc_text(table.created_at)}};
}

Error no_table(std::string_view name) {
  return {ErrorKind::not_found,
          "there is no table '" + shown(name) + "' that you may read; GET /api/v1/table lists those there are",
          {}};
}

Result<RegisteredTable> changeable(const TableParts& parts, const Request& request) {
  auto table = FUSED_TRY(table_of(parts, request, false));
  if (!may_write(request.actor, table.organisation, table.user_id))
    return fail(ErrorKind::forbidden, "table '" + table.name + "' belongs to somebody else; an owner may change it");
  return table;
}

}  // namespace

std::string shared_table_id(std::string_view table_id) { return std::string(kSharedTable).append(table_id); }

Result<RegisteredTable> table_of(const TableParts& parts, const Request& request, bool shared) {
  if (shared) {
    const auto token = parts.shares->valid(path_value_of(request, "token"));
    auto table = token && token->function_id.starts_with(kSharedTable)
                     ? parts.service->registry().by_id(token->function_id.substr(kSharedTable.size()))
                     : std::nullopt;
    if (!table) return fail(ErrorKind::not_found, "this share token is unknown, expired or revoked, or not a table's");
    const auto maker = parts.people->user(token->user_id);
    FUSED_CHECK(check_share_scope(*token, maker ? maker->organisation : "", request.actor));
    return *std::move(table);
  }
  const std::string name = path_value_of(request, "name");
  auto table = parts.service->registry().find(request.actor.organisation, name);
  if (!table || !may_see(request.actor, table->organisation)) return std::unexpected(no_table(name));
  return *std::move(table);
}

asio::awaitable<Reply> ListTables::operator()(Request& request) const {
  json::array records;
  for (const auto& table : parts.service->registry().of_organisation(request.actor.organisation))
    if (may_see(request.actor, table.organisation) &&
        (may_list_all_of_organisation(request.actor) || table.user_id == request.actor.user_id))
      records.push_back(record_of(parts, table));
  co_return json_reply(std::move(records));
}

asio::awaitable<Reply> RegisterTable::operator()(Request& request) const {
  const auto body = BodyObject::of(request);
  if (!body) co_return error_reply(body.error(), request);
  const auto name = body->text("name");
  if (!name) co_return error_reply(name.error(), request);
  const auto url = body->text("url");
  if (!url) co_return error_reply(url.error(), request);
  struct Added {
    RegisteredTable table;
    std::optional<RegisteredTable> before;  // of the same name
  };
  auto work = [parts = &parts, name = *name, url = *url, actor = request.actor]() -> Result<Added> {
    FUSED_CHECK(check_table_name(name));
    auto known = parts->service->registry().find(actor.organisation, name);
    if (known && !may_write(actor, known->organisation, known->user_id))
      return fail(ErrorKind::conflict, "table '" + name + "' belongs to somebody else; choose another name");
    RegisteredTable table{.organisation = actor.organisation, .name = name, .user_id = actor.user_id};
    table.url = FUSED_TRY(accept_table_url(url, actor.role, parts->data.string()));
    if (known && known->url == table.url) {  // the same table: what was shared of it stays shared
      table.id = known->id;
      table.created_at = known->created_at;
    }
    return Added{FUSED_TRY(parts->service->registry().add(std::move(table))), std::move(known)};
  };
  const auto added = co_await parts.thread->run(std::move(work));
  if (!added) co_return error_reply(added.error(), request);
  parts.service->registry_changed();
  // A table that cannot be read is told at once, and not kept.
  const auto info = co_await parts.service->info(added->table);
  // Gives how many share tokens were revoked: they were for what the name stood for.
  auto settle = [parts = &parts, added = *added, good = info.has_value()]() -> Result<std::size_t> {
    if (good && (!added.before || added.before->id == added.table.id)) return 0;
    if (good) {
      const std::string shared = shared_table_id(added.before->id);
      const std::size_t tokens = parts->shares->of_function(shared).size();
      FUSED_CHECK(parts->shares->revoke_of_function(shared));
      return tokens;
    }
    FUSED_CHECK(parts->service->registry().remove(added.table.id));
    if (added.before) FUSED_TRY(parts->service->registry().add(*added.before));
    return 0;
  };
  const auto settled = co_await parts.thread->run(std::move(settle));
  if (!info) {
    parts.service->registry_changed();
    co_return error_reply(info.error().within("the table was not registered"), request);
  }
  if (!settled) co_return error_reply(settled.error(), request);
  json::object record = record_of(parts, added->table);
  for (const auto& [key, value] : info->header) record[key] = value;
  record["revoked_tokens"] = *settled;
  co_return json_reply(std::move(record), 201);
}

asio::awaitable<Reply> RemoveTable::operator()(Request& request) const {
  const auto table = changeable(parts, request);
  if (!table) co_return error_reply(table.error(), request);
  auto work = [parts = &parts, id = table->id]() -> Status {
    FUSED_CHECK(parts->shares->revoke_of_function(shared_table_id(id)));
    return parts->service->registry().remove(id);
  };
  const auto removed = co_await parts.thread->run(std::move(work));
  if (!removed) co_return error_reply(removed.error(), request);
  parts.service->registry_changed();
  co_return json_reply(record_of(parts, *table));
}

asio::awaitable<Reply> ShareTable::operator()(Request& request) const {
  auto wanted = [&]() -> Result<ShareToken> {
    const RegisteredTable table = FUSED_TRY(changeable(parts, request));
    const BodyObject body = FUSED_TRY(BodyObject::of(request));
    ShareToken token;
    token.function_id = shared_table_id(table.id);
    token.user_id = request.actor.user_id;
    if (const auto expiry = FUSED_TRY(expiry_of(body, seconds_now(*parts.clock)))) token.expires_at = *expiry;
    return token;
  }();
  if (!wanted) co_return error_reply(wanted.error(), request);
  auto work = [shares = parts.shares, token = *std::move(wanted)] { return shares->create(token); };
  const auto made = co_await parts.thread->run(std::move(work));
  co_return reply_of_result(made, request, [&](const ShareToken& token) {
    const std::string text = parts.shares->text_of(token);
    return json::object{{"token", text},
                        {"id", token.id},
                        {"expires_at", utc_or_null(token.expires_at)},
                        {"tilejson", "/server/v1/realtime-shared/" + text + "/table/tilejson"}};
  });
}

}  // namespace fused
