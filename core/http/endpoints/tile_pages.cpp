#include "http/endpoints/tile_pages.hpp"

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <fstream>
#include <sstream>

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

struct Asset {
  std::string_view name;
  std::string_view content_type;
};
constexpr std::array kAssets{Asset{"preview.js", "text/javascript; charset=utf-8"},
                             Asset{"preview.css", "text/css; charset=utf-8"},
                             Asset{"maplibre-gl.mjs", "text/javascript; charset=utf-8"},
                             Asset{"maplibre-gl-shared.mjs", "text/javascript; charset=utf-8"},
                             Asset{"maplibre-gl-worker.mjs", "text/javascript; charset=utf-8"},
                             Asset{"maplibre-gl.css", "text/css; charset=utf-8"},
                             Asset{"land.json", "application/geo+json"}};

Result<std::string> read_page(const RunParts& parts, std::string_view name) {
  std::ifstream file(parts.web / name, std::ios::binary);
  if (!file)
    return fail(ErrorKind::not_found,
                "the page file '" + std::string(name) + "' is not installed; build again with make build");
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

std::string percent_encoded(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || byte == '-' || byte == '_' || byte == '.' || byte == '~')
      out += c;
    else
      ((out += '%') += kHex[byte >> 4]) += kHex[byte & 15];
  }
  return out;
}

// http://host/server/v1/realtime-shared/{token}, as the caller sees the server.
std::string shared_base(const Request& request) {
  const std::string_view forwarded = request.header("x-forwarded-proto");
  return std::string(forwarded == "https" ? "https" : "http") + "://" + std::string(request.header("host")) +
         "/server/v1/realtime-shared/" + percent_encoded(request.path_values.at("token"));
}

}  // namespace

asio::awaitable<Reply> TileJson::operator()(Request& request) const {
  const auto shared = parts.functions.by_share_token(request.path_values.at("token"), request.actor);
  if (!shared) co_return Reply::error(shared.error(), request.request_id);
  const auto format = parse_format_list(request.query.value_or("format", "mvt"));
  if (!format) co_return Reply::error(format.error(), request.request_id);
  std::string url = shared_base(request) + "/run/tiles/{z}/{x}/{y}?format=" + format->front();
  for (const auto& [name, value] : request.query.items)
    if (name != "format") url += '&' + percent_encoded(name) + '=' + percent_encoded(value);
  json::object tilejson{
      {"tilejson", "3.0.0"},       {"name", shared->function->name},
      {"tiles", json::array{url}}, {"minzoom", 0},
      {"maxzoom", kTileZoomMax},   {"bounds", json::array{-180, -85.0511287798066, 180, 85.0511287798066}},
      {"scheme", "xyz"},           {"format", format->front()}};
  if (format->front() == "mvt")
    tilejson["vector_layers"] = json::array{json::object{{"id", "udf"}, {"fields", json::object{}}}};
  co_return Reply::json(json::serialize(tilejson)).with("cache-control", "no-cache");
}

asio::awaitable<Reply> PreviewMap::operator()(Request& request) const {
  if (const auto shared = parts.functions.by_share_token(request.path_values.at("token"), request.actor); !shared)
    co_return Reply::error(shared.error(), request.request_id);
  auto page = read_page(parts, "preview.html");
  if (!page) co_return Reply::error(page.error(), request.request_id);
  co_return Reply::text(std::move(*page), "text/html; charset=utf-8").with("cache-control", "no-cache");
}

asio::awaitable<Reply> PreviewAsset::operator()(Request& request) const {
  if (const auto shared = parts.functions.by_share_token(request.path_values.at("token"), request.actor); !shared)
    co_return Reply::error(shared.error(), request.request_id);
  const std::string& name = request.path_values.at("asset");
  for (const auto& asset : kAssets) {
    if (asset.name != name) continue;
    auto text = read_page(parts, name);
    if (!text) co_return Reply::error(text.error(), request.request_id);
    co_return Reply::text(std::move(*text), std::string(asset.content_type))
        .with("cache-control", "public, max-age=86400");
  }
  co_return Reply::error(Error{ErrorKind::not_found, "the preview has no file '" + name.substr(0, 60) + "'", {}},
                         request.request_id);
}

}  // namespace fused
