// Request targets and what is derived from them: path and query, log text, negotiation, entity tags, origins and hosts.
#include <cstdint>
#include <cstdlib>

#include "base/text.hpp"
#include "http/access.hpp"
#include "http/access_log.hpp"
#include "http/compression.hpp"
#include "http/conditional.hpp"
#include "http/request_id.hpp"
#include "http/target.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fused;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto target = parse_target(text)) {
    require(target->path.starts_with('/') && is_utf8(target->path));
    require(target->path.find("/../") == std::string::npos && !target->path.ends_with("/.."));
    for (const auto& [name, value] : target->query.items)
      require(is_utf8(name) && is_utf8(value) && value.find('\0') == std::string::npos);
  }
  require(loggable_target(text).size() <= 512 + 64);
  require(is_utf8(printable(text)) && is_utf8(valid_utf8(text)));
  require(redacted(text).size() <= text.size() + 3);
  (void)negotiate(text);
  (void)none_match_hits(text, "\"0123456789abcdef0123456789abcdef\"");
  (void)is_traceparent(text);
  Settings settings;
  settings.allow_hosts = {"maps.example.org"};
  if (check_host(text, settings)) require(host_name(text).has_value());
  return 0;
}
