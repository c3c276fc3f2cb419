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
  ++(answer ? figures_.reads : figures_.reads_failed);
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
  json::object order = question(table, "tile");
  order["z"] = id.z;
  order["x"] = id.x;
  order["y"] = id.y;
  order["columns"] = names(columns);
  order["where"] = where;
  order["layer"] = table.name;
  const std::string text = json::serialize(order);
  for (;;) {
    const auto seen = co_await version(table);
    if (!seen) {
      ++figures_.tiles_failed;
      co_return std::unexpected(seen.error());
    }
    const std::string key = table.id + *seen + text;
    if (const CachedTile* known = cache_.find(key)) {
      ++figures_.tiles_cached;
      co_return Tile{*known, *seen, true};
    }
    const auto flying = flights_.find(key);
    if (flying == flights_.end()) co_return co_await make_tile(std::move(table), text, key, std::move(gone));
    const auto flight = flying->second;
    const auto turn = std::make_shared<Completion<bool>>();
    flight->waiting.push_back(turn);
    (void)co_await turn->wait();
    if (!flight->outcome) continue;  // nobody made it: now this one does
    ++(*flight->outcome ? figures_.tiles_joined : figures_.tiles_failed);
    co_return *flight->outcome;
  }
}

asio::awaitable<Result<TableService::Tile>> TableService::make_tile(RegisteredTable table, std::string question,
                                                                    std::string key, std::shared_ptr<const bool> gone) {
  const auto flight = std::make_shared<Flight>();
  flights_[key] = flight;
  const auto answer = co_await processes_.ask(question, gone);
  flights_.erase(key);
  Result<Tile> outcome = Tile{};
  if (answer) {
    learn(table, *answer);
    const std::string version = text_of(answer->header, "version");
    CachedTile made{answer->body, text_of(answer->header, "content")};
    cache_.put(table.id + version + question, made);
    outcome = Tile{std::move(made), version, false};
  } else {
    outcome = std::unexpected(answer.error());
  }
  ++(answer ? figures_.tiles_made : figures_.tiles_failed);
  if (answer || !gone || !*gone) flight->outcome = outcome;
  for (const auto& turn : flight->waiting) turn->set(true);
  co_return outcome;
}

TableFigures TableService::figures() const {
  TableFigures figures = figures_;
  figures.processes_started = static_cast<std::uint64_t>(processes_.started());
  figures.cache_bytes = cache_.bytes();
  return figures;
}

}  // namespace fused
