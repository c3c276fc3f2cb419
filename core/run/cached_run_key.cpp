#include "run/cached_run_key.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace fused {
namespace {

// Headers that differ from request to request of one and the same caller, or that no function looks at.
constexpr std::array<std::string_view, 20> kPassing{"accept-encoding",
                                                    "cache-control",
                                                    "connection",
                                                    "content-length",
                                                    "content-type",
                                                    "date",
                                                    "expect",
                                                    "fused-run-id",
                                                    "fused-recursion",
                                                    "host",
                                                    "if-modified-since",
                                                    "if-none-match",
                                                    "keep-alive",
                                                    "pragma",
                                                    "priority",
                                                    "te",
                                                    "traceparent",
                                                    "tracestate",
                                                    "transfer-encoding",
                                                    "x-request-id"};

std::string part(std::string_view text) { return std::to_string(text.size()) + ':' + std::string(text); }

// Everything that fused.context shows of a caller.
std::string caller_of(const RunRequest& request) {
  std::string out = part(request.actor.email) + part(request.actor.share_token_id) +
                    std::to_string(static_cast<int>(request.actor.kind)) + ' ' + std::to_string(request.recursion);
  for (const auto& [name, value] : request.headers)
    if (std::ranges::find(kPassing, name) == kPassing.end()) out += part(name) + part(value);
  out += '|';
  for (const auto& [name, value] : request.query) out += part(name) + part(value);
  return out;
}

std::string format_of(const RunRequest& request) {
  std::string out;
  for (const auto& format : request.format.preferences) out += part(format);
  out += part(request.format.from);
  if (request.format.dtype_out) out += part(request.format.dtype_out->vector) + part(request.format.dtype_out->raster);
  out += request.async_client ? " async" : "";
  return out;
}

}  // namespace

Digest text_digest(const FunctionSource& function) {
  return Hasher()
      .add("text 1")
      .add(function.organisation)
      .add(function.owner_id)
      .add(function.code_hash)
      .add(function.entrypoint)
      .finish();
}

std::string tile_text(const TileId& tile) {
  return std::to_string(tile.z) + '/' + std::to_string(tile.x) + '/' + std::to_string(tile.y);
}

CacheKey key_of(const RunRequest& request, const CodeDescription& code, const Digest& environment) {
  const FunctionSource& function = *request.function;
  const std::string format = format_of(request);
  const std::string tile = request.tile ? tile_text(*request.tile) : std::string();
  const std::string caller = code.sees_caller ? caller_of(request) : std::string();
  KeyInput input;
  input.organisation = function.organisation;
  input.owner_id = function.owner_id;
  input.function = function.name;
  input.code = code.tree;
  input.entrypoint = function.entrypoint;
  input.parameters = canonical_parameters(code.signature, function.parameters, request.query, request.typed);
  input.format = format;
  input.tile = tile;
  input.environment = environment;
  input.caller = caller;
  return make_key(input);
}

std::int64_t stale_seconds_of(std::string_view cache_control) {
  constexpr std::string_view kName = "stale-while-revalidate=";
  const std::size_t at = cache_control.find(kName);
  if (at == std::string_view::npos) return 0;
  std::int64_t seconds = 0;
  const char* end = cache_control.data() + cache_control.size();
  std::from_chars(cache_control.data() + at + kName.size(), end, seconds);
  return std::clamp<std::int64_t>(seconds, 0, 36'500LL * 86'400);
}

}  // namespace fused
