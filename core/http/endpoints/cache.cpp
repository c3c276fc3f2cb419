#include "http/endpoints/cache.hpp"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>

#include "auth/permissions.hpp"
#include "base/text.hpp"
#include "run/cached_run_key.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

Result<std::int64_t> number_of(std::string_view name, const std::string& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size())
    return fail(ErrorKind::unprocessable,
                std::string(name) + " is '" + printable(text.substr(0, 40)) + "'; a tile has whole numbers");
  return number;
}

Result<std::optional<TileId>> tile_of(const Request& request) {
  const std::string* texts[3] = {request.query.find("z"), request.query.find("x"), request.query.find("y")};
  const int given = (texts[0] != nullptr) + (texts[1] != nullptr) + (texts[2] != nullptr);
  if (given == 0) return std::nullopt;
  if (given < 3)
    return fail(ErrorKind::unprocessable,
                "a tile is named by z, x and y together; leave all out for the whole function");
  const auto tile = check_tile(FUSED_TRY(number_of("z", *texts[0])), FUSED_TRY(number_of("x", *texts[1])),
                               FUSED_TRY(number_of("y", *texts[2])));
  if (!tile) return fail(ErrorKind::unprocessable, tile.error().message);
  return *tile;
}

}  // namespace

asio::awaitable<Reply> ForgetResults::operator()(Request& request) const {
  const std::string id = request.path_values.at("id");
  const auto tile = tile_of(request);
  if (!tile) co_return Reply::error(tile.error(), request.request_id);
  const Actor& actor = request.actor;
  SharedSaved saved = parts.functions->by_id(id);
  if (!saved) saved = parts.functions->by_email(actor.email, FunctionStore::kCollection, id);
  // Who may see a function may drop what was computed with it: it is made again.
  if (saved && !may_see(actor, saved->owner.organisation)) saved = nullptr;
  if (!saved && id.size() == 36)
    co_return Reply::error({ErrorKind::not_found, "there is no function with the id '" + printable(id) + "'", {}},
                           request.request_id);
  const std::string name = saved ? saved->source->name : id;
  if (saved) {
    parts.cached->forget(saved->owner.organisation, saved->owner.id, name, *tile);
    if (saved->slug != name) parts.cached->forget(saved->owner.organisation, saved->owner.id, saved->slug, *tile);
  }
  // The official client sends the text of a saved function with each run: that one is the caller's.
  if (!saved || saved->owner.id != actor.user_id) parts.cached->forget(actor.organisation, actor.user_id, name, *tile);
  // Not saved: whoever asks cannot tell a misspelt name from one whose results were dropped.
  json::object told{{"function", name}, {"saved", saved != nullptr}, {"deleted", true}, {"tile", nullptr}};
  if (*tile) told["tile"] = tile_text(**tile);
  co_return Reply::json(json::serialize(told)).with("cache-control", "no-store");
}

std::vector<Route> cache_routes(CacheParts& parts) {
  using enum Method;
  const ForgetResults forget{parts};
  return {{delete_, "/server/v1/realtime-shared/{client_id}/udf-cache/by-id/{id}/delete", Access::signed_in, forget,
           "forget_results_by_id"},
          {delete_, "/api/v1/functions/{id}/cache", Access::signed_in, forget, "forget_results"}};
}

}  // namespace fused
