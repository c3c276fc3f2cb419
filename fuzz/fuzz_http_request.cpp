// Requests as bytes from a stranger, in pieces of the fuzzer's choice: parser, target, router and what is decided
// before a handler. What must hold: no crash, progress, and the same request however the bytes were cut.
#include <cstdint>
#include <cstdlib>

#include "base/ids.hpp"
#include "base/text.hpp"
#include "http/dispatcher.hpp"
#include "http/request_parser.hpp"

namespace {

using namespace fused;

void require(bool holds) {
  if (!holds) std::abort();
}

struct Outcome {
  ParseStep step = ParseStep::need_more;
  Request request;
};

// Feeds the bytes in pieces of `piece` (0: all at once) as a connection does.
void parse(std::string_view bytes, std::size_t piece, Outcome& outcome) {
  static const HttpLimits limits{.header_bytes_max = 4096, .uri_bytes_max = 2048, .body_bytes_max = 8192};
  RequestParser parser(limits);
  parser.begin(outcome.request);
  std::size_t begin = 0, end = 0;
  while (outcome.step != ParseStep::done && outcome.step != ParseStep::failed) {
    if (begin == end || outcome.step == ParseStep::need_more) {
      if (end == bytes.size()) return;
      end = piece == 0 ? bytes.size() : std::min(bytes.size(), end + piece);
    }
    std::size_t used = 0;
    outcome.step = parser.feed(bytes.substr(begin, end - begin), used);
    require(used <= end - begin);
    begin += used;
    if (outcome.step == ParseStep::header && !parser.has_body()) outcome.step = ParseStep::done;
    if (outcome.step == ParseStep::header) {
      if (!parser.limit_body(limits.body_bytes_max))
        outcome.step = ParseStep::failed;
      else if (begin == end && end == bytes.size())
        return;
    }
  }
  require(outcome.step == ParseStep::failed || outcome.request.body.size() <= 8192);
}

Dispatcher& dispatcher() {
  static Settings settings;
  static Clock clock;
  static Parts parts;
  parts.settings = &settings;
  parts.clock = &clock;
  const Handler handler = [](Request&) -> boost::asio::awaitable<Reply> { co_return Reply{}; };
  static Dispatcher made(parts, {{Method::get, "/health", Access::open, handler, "a"},
                                 {Method::get, "/u/{id}", Access::open, handler, "b"},
                                 {Method::post, "/u/{id}", Access::signed_in, handler, "c"},
                                 {Method::get, "/server/v1/realtime-shared/{token}/run/tiles/{z}/{x}/{y}",
                                  Access::share_path, handler, "d"},
                                 {Method::get, "/f/{rest...}", Access::open, handler, "e"}});
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool ready = (init_random(), true);
  require(ready);
  if (size < 1) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  Outcome whole, pieces;
  parse(bytes, 0, whole);
  parse(bytes, 1 + data[0] % 16, pieces);
  require((whole.step == ParseStep::done) == (pieces.step == ParseStep::done));
  if (whole.step != ParseStep::done) return 0;
  require(whole.request.target == pieces.request.target && whole.request.headers == pieces.request.headers &&
          whole.request.body.view() == pieces.request.body.view() && whole.request.method == pieces.request.method);
  const auto admission = dispatcher().admit(whole.request);
  require(admission.route != nullptr || admission.refusal.has_value());
  require(is_utf8(whole.request.path) && whole.request.path.find('\0') == std::string::npos);
  for (const auto& [name, value] : whole.request.query.items) require(is_utf8(name) && is_utf8(value));
  for (const auto& [name, value] : whole.request.path_values) require(!value.empty() && value != "." && value != "..");
  for (const auto& [name, value] : whole.request.headers) require(is_utf8(value));
  return 0;
}
