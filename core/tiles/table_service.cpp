#include "tiles/table_service.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::size_t kVersionsMax = 10'000;

json::object question(const RegisteredTable& table, std::string_view op) { return {{"op", op}, {"url", table.url}}; }

json::array names(const std::vector<std::string>& columns) {
  json::array list;
  for (const auto& name : columns) list.emplace_back(name);
  return list;
}

std::string text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

}  // namespace

TableService::TableService(asio::io_context& io, TableRegistry& registry, TableProcessesOptions options)
    : registry_(registry), processes_(io, std::move(options)) {
  registry_changed();
}

void TableService::learn(const RegisteredTable& table, const TableAnswer& answer) {
  if (versions_.size() >= kVersionsMax) versions_.clear();
  versions_[table.id] = {text_of(answer.header, "version"), std::chrono::steady_clock::now()};
}

asio::awaitable<Result<TableAnswer>> TableService::info(RegisteredTable table) {
  auto answer = co_await processes_.ask(json::serialize(question(table, "info")));
  if (answer) learn(table, *answer);
  co_return answer;
}

asio::awaitable<Result<TableAnswer>> TableService::rows(RegisteredTable table, RowsAsked asked,
                                                        std::shared_ptr<const bool> gone) {
  json::object order = question(table, "rows");
  if (asked.bounds)
    order["bounds"] = json::array{asked.bounds->minx, asked.bounds->miny, asked.bounds->maxx, asked.bounds->maxy};
  order["columns"] = names(asked.columns);
  order["where"] = asked.where;
  order["format"] = asked.format;
  if (asked.limit) order["limit"] = *asked.limit;
  auto answer = co_await processes_.ask(json::serialize(order), std::move(gone));
  if (answer) learn(table, *answer);
  co_return answer;
}

asio::awaitable<Result<std::string>> TableService::version(const RegisteredTable& table) {
  const auto known = versions_.find(table.id);
  if (known != versions_.end() && std::chrono::steady_clock::now() - known->second.seen < kVersionBelieved)
    co_return known->second.version;
  auto answer = co_await processes_.ask(json::serialize(question(table, "version")));
  if (!answer) co_return std::unexpected(answer.error());
  learn(table, *answer);
  co_return text_of(answer->header, "version");
}

asio::awaitable<Result<TableService::Tile>> TableService::tile(RegisteredTable table, TileId id,
                                                               std::vector<std::string> columns, std::string where,
                                                               std::shared_ptr<const bool> gone) {
  const auto seen = co_await version(table);
  if (!seen) co_return std::unexpected(seen.error());
  json::object order = question(table, "tile");
  order["z"] = id.z;
  order["x"] = id.x;
  order["y"] = id.y;
  order["columns"] = names(columns);
  order["where"] = where;
  order["layer"] = table.name;
  const std::string text = json::serialize(order);
  if (const CachedTile* known = cache_.find(table.id + *seen + text)) co_return Tile{*known, *seen, true};
  auto answer = co_await processes_.ask(text, std::move(gone));
  if (!answer) co_return std::unexpected(answer.error());
  learn(table, *answer);
  const std::string version = text_of(answer->header, "version");
  CachedTile made{answer->body, text_of(answer->header, "content")};
  cache_.put(table.id + version + text, made);
  co_return Tile{std::move(made), version, false};
}

}  // namespace fused
