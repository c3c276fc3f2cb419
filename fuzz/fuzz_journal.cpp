// The log journal: a segment as a killed server or a broken disk may leave it, and the payloads of its frames. Whatever
// a payload holds, the files made from it are JSON and the folder is four path segments.
#include <boost/json/parse.hpp>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/text.hpp"
#include "logs/journal_format.hpp"
#include "logs/metadata.hpp"
#include "logs/run_path.hpp"

namespace {

void demand(bool holds) {
  if (!holds) std::abort();
}

void check_json(const std::string& text) {
  boost::system::error_code error;
  const auto value = boost::json::parse(text, error);
  demand(!error && value.is_object() && fused::is_utf8(text));
}

void check_payload(std::string_view payload) {
  if (const auto code = fused::decode_code(payload)) check_json(fused::udf_json(*code));
  const auto run = fused::decode_run(payload);
  if (!run) return;
  check_json(fused::metadata_json(*run));
  const auto path = fused::RunPath::of(run->record);
  for (const auto& segment : {path.email, path.id})
    demand(!segment.empty() && segment[0] != '.' && segment.size() <= 200 && segment.find('/') == std::string::npos &&
           segment.find('\0') == std::string::npos);
  // What is read is written again the same.
  std::string frame, again;
  encode_run(frame, {}, run->record, run->code_number, run->appended);
  const auto decoded = fused::decode_frame(frame, {});
  demand(decoded && decoded->size == frame.size());
  const auto second = fused::decode_run(decoded->payload);
  demand(second.has_value());
  encode_run(again, {}, second->record, second->code_number, second->appended);
  demand(frame == again);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fused;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check_payload(bytes);
  const auto key = decode_segment_head(bytes);
  if (!key) return 0;
  for (std::size_t at = kSegmentHeadBytes; at < bytes.size();) {
    const auto rest = bytes.substr(at);
    if (const auto frame = decode_frame(rest, *key)) {
      demand(frame->size >= kFrameOverheadBytes && frame->size <= rest.size());
      check_payload(frame->payload);
      at += frame->size;
      continue;
    }
    const auto next = find_next_frame(rest, *key);
    if (next == std::string_view::npos) break;
    demand(next > 0 && next < rest.size());
    at += next;
  }
  return 0;
}
