#include "http/access_log.hpp"

#include <cmath>

#include "base/log.hpp"
#include "base/text.hpp"

namespace fused {
namespace {

constexpr std::size_t kTargetBytesMax = 512;
constexpr std::size_t kTokenBytesShown = 8;

// Cuts the segment that follows `prefix`, wherever it stands: "…/by-token/fsh_0123456789" → "…/by-token/fsh_0123…".
void cut_segment_after(std::string& path, std::string_view prefix) {
  const auto at = path.find(prefix);
  if (at == std::string::npos) return;
  const auto begin = at + prefix.size();
  const auto end = std::min(path.find_first_of("/?.", begin), path.size());
  if (end - begin > kTokenBytesShown) path.replace(begin + kTokenBytesShown, end - begin - kTokenBytesShown, "…");
}

// `name` with the '?' or '&' in front. A percent sign could spell any of the words.
bool names_secret(std::string_view name) {
  return name.substr(1) == "code" || name.find("token") != std::string_view::npos ||
         name.find("secret") != std::string_view::npos || name.find("password") != std::string_view::npos ||
         name.find('%') != std::string_view::npos;
}

}  // namespace

std::string loggable_target(std::string_view target) {
  const auto question = target.find('?');
  std::string out(target.substr(0, std::min(question, kTargetBytesMax)));
  cut_segment_after(out, "/realtime-shared/");
  cut_segment_after(out, "/by-token/");
  cut_segment_after(out, "/by-access-token/");
  for (auto query = question == std::string_view::npos ? std::string_view{} : target.substr(question);
       !query.empty();) {
    const auto end = query.find('&', 1);
    const auto item = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view{} : query.substr(end);
    const auto equals = item.find('=');
    if (equals != std::string_view::npos && names_secret(item.substr(0, equals)))
      out.append(item.substr(0, equals)).append("=…");
    else
      out.append(item.substr(0, kTargetBytesMax));
    if (out.size() > kTargetBytesMax) {
      out.resize(kTargetBytesMax);
      return out.append("…");
    }
  }
  return out;
}

void log_access(const Request& request, int status, std::size_t bytes_sent, double seconds) {
  const auto level = status >= 500 ? spdlog::level::warn : spdlog::level::info;
  if (!log_enabled(level)) return;
  const std::string target = loggable_target(request.target);
  const auto trace = request.header("traceparent");
  const double ms = std::round(seconds * 1e6) / 1e3;
  const LogField method{"method", method_name(request.method)}, path{"target", std::string_view(target)},
      code{"status", std::int64_t{status}}, bytes{"bytes", static_cast<std::int64_t>(bytes_sent)}, time{"ms", ms},
      peer{"peer", std::string_view(request.peer)}, id{"request_id", std::string_view(request.request_id)},
      who{"user", request.actor.is_nobody() ? std::string_view("-") : std::string_view(request.actor.email)};
  if (trace.size() != 55)
    log_event(level, "request", {method, path, code, bytes, time, peer, who, id});
  else
    log_event(level, "request", {method, path, code, bytes, time, peer, who, id, {"trace_id", trace.substr(3, 32)}});
}

}  // namespace fused
