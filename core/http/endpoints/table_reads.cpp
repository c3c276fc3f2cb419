// Rows and tiles of tables. The server moves bytes; `fused-table` makes them.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/url/encode.hpp>
#include <boost/url/rfc/unreserved_chars.hpp>
#include <charconv>
#include <cmath>

#include "http/endpoints/state_parts.hpp"
#include "http/endpoints/table_routes.hpp"
#include "storage/path_resolver.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr std::size_t kColumnsMax = 1'000;
constexpr int kTileZoomOffered = 16;  // maps enlarge tiles of this zoom beyond it

// "a,b,c", once or several times.
Result<std::vector<std::string>> columns_of(const Request& request) {
  std::vector<std::string> columns;
  for (const auto& [name, value] : request.query.items) {
    if (name != "columns") continue;
    for (std::size_t at = 0; at <= value.size();) {
      const std::size_t comma = std::min(value.find(',', at), value.size());
      if (comma > at) columns.push_back(value.substr(at, comma - at));
      at = comma + 1;
    }
  }
  if (columns.size() > kColumnsMax)
    return fail(ErrorKind::invalid_argument, "at most " + std::to_string(kColumnsMax) + " columns can be named");
  return columns;
}

Result<std::optional<Box>> bounds_of(const Request& request) {
  const std::string* text = request.query.find("bounds");
  if (!text) text = request.query.find("bbox");
  if (!text || text->empty()) return std::nullopt;
  double side[4];
  const char* at = text->data();
  const char* const end = at + text->size();
  bool good = true;
  for (int i = 0; i < 4 && good; ++i) {
    if (i > 0) good = at < end && *at++ == ',';
    const auto read = std::from_chars(at, end, side[i]);
    good = good && read.ec == std::errc() && std::isfinite(side[i]);
    at = read.ptr;
  }
  if (!good || at != end)
    return fail(ErrorKind::invalid_argument,
                "'bounds' are west,south,east,north in degrees, not '" + shown(*text) + "'");
  return Box{side[0], side[1], side[2], side[3]};
}

Result<std::string> format_of(const Request& request) {
  std::string format = request.query.value_or("format", "geojson");
  for (const char* known : {"geojson", "json", "parquet", "arrow"})
    if (format == known) return format;
  return fail(ErrorKind::not_acceptable,
              "tables are sent as geojson, json, parquet or arrow, not as '" + shown(format) + "'");
}

Result<RowsAsked> rows_of(const Request& request) {
  RowsAsked asked;
  asked.bounds = FUSED_TRY(bounds_of(request));
  asked.columns = FUSED_TRY(columns_of(request));
  asked.where = request.query.value_or("where", "");
  asked.format = FUSED_TRY(format_of(request));
  if (request.query.find("limit"))
    asked.limit = static_cast<std::int64_t>(FUSED_TRY(whole_number_of(request, "limit", 0, 1'000'000)));
  return asked;
}

Result<TileId> tile_of(const Request& request) {
  std::int64_t number[3];
  const char* names[] = {"z", "x", "y"};
  for (int i = 0; i < 3; ++i) {
    std::string text = path_value_of(request, names[i]);
    if (i == 2 && text.ends_with(".mvt")) text.resize(text.size() - 4);
    if (i == 2 && text.ends_with(".pbf")) text.resize(text.size() - 4);
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number[i]);
    if (text.empty() || read.ec != std::errc() || read.ptr != text.data() + text.size())
      return fail(ErrorKind::not_found, "a tile is /{z}/{x}/{y}.mvt; '" + shown(text) + "' is no whole number");
  }
  return check_tile(number[0], number[1], number[2]);
}

// True once the peer has gone.
std::shared_ptr<const bool> watch_peer(const Request& request) {
  auto gone = std::make_shared<bool>(false);
  if (request.on_disconnect) request.on_disconnect([gone] { *gone = true; });
  return gone;
}

std::string percent_encoded(const std::string& text) {
  return boost::urls::encode(text, boost::urls::unreserved_chars);
}

std::string base_of(const Request& request) {
  const std::string_view forwarded = request.header("x-forwarded-proto");
  return (forwarded == "https" ? "https://" : "http://") + std::string(request.header("host"));
}

}  // namespace

asio::awaitable<Reply> GetTable::operator()(Request& request) const {
  const auto table = table_of(parts, request, shared);
  if (!table) co_return error_reply(table.error(), request);
  auto info = co_await parts.service->info(*table);
  if (!info) co_return error_reply(info.error(), request);
  json::object record{{"name", table->name}};
  if (!shared) record["url"] = table->url;
  for (const auto& [key, value] : info->header) record[key] = value;
  co_return json_reply(std::move(record));
}

asio::awaitable<Reply> GetTableRows::operator()(Request& request) const {
  const auto table = table_of(parts, request, shared);
  if (!table) co_return error_reply(table.error(), request);
  auto asked = rows_of(request);
  if (!asked) co_return error_reply(asked.error(), request);
  auto answer = co_await parts.service->rows(*table, *std::move(asked), watch_peer(request));
  if (!answer) co_return error_reply(answer.error(), request);
  Reply reply;
  reply.with("content-type", std::string(answer->header.at("content_type").as_string()));
  reply.with("cache-control", shared ? "public, max-age=0, must-revalidate" : "private, max-age=0, must-revalidate");
  reply.with("x-fused-rows", json::serialize(answer->header.at("rows")));
  reply.body = std::move(answer->body);
  co_return reply;
}

asio::awaitable<Reply> GetTableTile::operator()(Request& request) const {
  const auto table = table_of(parts, request, shared);
  if (!table) co_return error_reply(table.error(), request);
  const auto id = tile_of(request);
  if (!id) co_return error_reply(id.error(), request);
  auto columns = columns_of(request);
  if (!columns) co_return error_reply(columns.error(), request);
  auto made = co_await parts.service->tile(*table, *id, *std::move(columns), request.query.value_or("where", ""),
                                           watch_peer(request));
  if (!made) co_return error_reply(made.error(), request);
  Reply reply;
  reply.with("cache-control", shared ? "public, max-age=0, must-revalidate" : "private, max-age=0, must-revalidate");
  reply.with("x-fused-cache", made->cached ? "hit" : "miss");
  reply.with("x-fused-tile", made->tile.content);
  if (made->tile.body.view.empty()) {
    reply.status = 204;
    co_return reply;
  }
  reply.with("content-type", "application/vnd.mapbox-vector-tile");
  reply.body = std::move(made->tile.body);
  co_return reply;
}

asio::awaitable<Reply> GetTableTileJson::operator()(Request& request) const {
  const auto table = table_of(parts, request, shared);
  if (!table) co_return error_reply(table.error(), request);
  const auto info = co_await parts.service->info(*table);
  if (!info) co_return error_reply(info.error(), request);
  const std::string path = shared ? "/server/v1/realtime-shared/" + path_value_of(request, "token") + "/table"
                                  : "/api/v1/table/" + table->name;
  std::string url = base_of(request) + path + "/tiles/{z}/{x}/{y}.mvt";
  char separator = '?';
  for (const auto& [name, value] : request.query.items) {
    url += separator + percent_encoded(name) + '=' + percent_encoded(value);
    separator = '&';
  }
  json::object fields;
  const auto* geometry = info->header.if_contains("geometry");
  if (const auto* columns = info->header.if_contains("columns"); columns && columns->is_array())
    for (const auto& column : columns->get_array()) {
      const std::string name(column.at("name").as_string());
      if (!geometry || !geometry->is_string() || geometry->get_string() != name)
        fields[name] = column.at("type").as_string();
    }
  json::object tilejson{{"tilejson", "3.0.0"}, {"name", table->name},         {"tiles", json::array{url}},
                        {"minzoom", 0},        {"maxzoom", kTileZoomOffered}, {"scheme", "xyz"},
                        {"format", "mvt"}};
  if (const auto* bounds = info->header.if_contains("bounds"); bounds && bounds->is_array())
    tilejson["bounds"] = *bounds;
  tilejson["vector_layers"] =
      json::array{json::object{{"id", table->name}, {"fields", std::move(fields)}},
                  json::object{{"id", "chunks"},
                               {"fields", {{"file_id", "string"}, {"chunk_id", "int64"}, {"num_rows", "int64"}}}}};
  co_return Reply::json(json::serialize(tilejson)).with("cache-control", "no-cache");
}

std::vector<Route> table_routes(TableParts& parts) {
  using enum Method;
  constexpr std::int64_t kBody = 64 << 10;
  const std::string own = "/api/v1/table", one = own + "/{name}";
  const std::string shared = "/server/v1/realtime-shared/{token}/table";
  return {
      {get, own, Access::run_or_user, ListTables{parts}, "list_tables"},
      {post, own, Access::signed_in, RegisterTable{parts}, "register_table", kBody},
      {get, one, Access::run_or_user, GetTable{parts}, "get_table"},
      {delete_, one, Access::signed_in, RemoveTable{parts}, "remove_table"},
      {post, one + "/share", Access::signed_in, ShareTable{parts}, "share_table", kBody},
      {get, one + "/rows", Access::run_or_user, GetTableRows{parts}, "get_table_rows"},
      {get, one + "/tiles/{z}/{x}/{y}", Access::run_or_user, GetTableTile{parts}, "get_table_tile"},
      {get, one + "/tilejson", Access::run_or_user, GetTableTileJson{parts}, "get_table_tilejson"},
      {get, shared, Access::share_path, GetTable{parts, true}, "get_shared_table"},
      {get, shared + "/rows", Access::share_path, GetTableRows{parts, true}, "get_shared_table_rows"},
      {get, shared + "/tiles/{z}/{x}/{y}", Access::share_path, GetTableTile{parts, true}, "get_shared_table_tile"},
      {get, shared + "/tilejson", Access::share_path, GetTableTileJson{parts, true}, "get_shared_table_tilejson"},
  };
}

}  // namespace fused
