#include "run/outcome.hpp"

#include <array>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <cstdio>

namespace fused {
namespace {

constexpr std::array kOutcomes{
    OutcomeRow{"ok", 200, ""},
    OutcomeRow{"user_error", 422, "runtime_error"},
    OutcomeRow{"invalid_code", 422, "runtime_error"},
    OutcomeRow{"invalid_parameter", 422, "runtime_error"},
    OutcomeRow{"not_serialisable", 422, "serialization_error"},
    OutcomeRow{"no_format", 406, "serialization_error"},
    OutcomeRow{"result_too_large", 413, "serialization_error"},
    OutcomeRow{"timeout", 504, "timeout_error"},
    OutcomeRow{"out_of_memory", 422, "runtime_error"},
    OutcomeRow{"limit_exceeded", 422, "runtime_error"},
    OutcomeRow{"crashed", 422, "runtime_error"},
    OutcomeRow{"no_result", 422, "runtime_error"},
    OutcomeRow{"cancelled", 409, "runtime_error"},
};

// JSON string with everything outside printable ASCII escaped: it travels in a header.
void append_text(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '"' || c == '\\')
      (out += '\\') += text[i++];
    else if (c >= 0x20 && c < 0x7f)
      out += text[i++];
    else if (c == '\n')
      out += "\\n", ++i;
    else {
      char32_t code = 0xfffd;
      const int more = c >= 0xf0 && c < 0xf5 ? 3 : c >= 0xe0 ? 2 : c >= 0xc2 ? 1 : 0;
      if (c < 0x80)
        code = c, ++i;
      else {
        std::size_t used = 1;
        char32_t value = more == 3 ? c & 7 : more == 2 ? c & 15 : c & 31;
        while (more > 0 && used <= static_cast<std::size_t>(more) && i + used < text.size() &&
               (static_cast<unsigned char>(text[i + used]) & 0xc0) == 0x80)
          value = value << 6 | (static_cast<unsigned char>(text[i + used++]) & 0x3f);
        if (more > 0 && used == static_cast<std::size_t>(more) + 1 && !(value >= 0xd800 && value < 0xe000))
          code = value;
        i += used;
      }
      char escape[16];
      if (code >= 0x10000)
        std::snprintf(escape, sizeof escape, "\\u%04x\\u%04x", static_cast<unsigned>(0xd800 + ((code - 0x10000) >> 10)),
                      static_cast<unsigned>(0xdc00 + ((code - 0x10000) & 0x3ff)));
      else
        std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(code));
      out += escape;
    }
  }
  out += '"';
}

// Head and tail of a text that is too long for the header; the whole stands in the log folder.
std::string shortened(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string(text);
  const std::size_t half = bytes_max / 2;
  return std::string(text.substr(0, half)) + "\n… " + std::to_string(text.size() - 2 * half) +
         " bytes left out here; the log folder has them …\n" + std::string(text.substr(text.size() - half));
}

void append_member(std::string& out, std::string_view name, std::string_view text, bool null_when_empty = false) {
  out += ",\"";
  out += name;
  out += "\":";
  if (null_when_empty && text.empty())
    out += "null";
  else
    append_text(out, text);
}

std::string build(const Metadata& m, std::size_t text_max) {
  std::string out = "{\"stdout\":";
  out.reserve(512);
  append_text(out, shortened(m.stdout_text, text_max));
  append_member(out, "stderr", shortened(m.stderr_text, text_max));
  out += ",\"has_exception\":";
  out += m.has_exception ? "true" : "false";
  append_member(out, "exception_class", m.exception_class.substr(0, 200), true);
  out += ",\"lineno\":";
  out += m.line > 0 ? std::to_string(m.line) : "null";
  append_member(out, "errormsg", shortened(m.error_message, text_max), true);
  append_member(out, "exception", shortened(m.exception, text_max));
  out += ",\"profile\":";
  out += m.profile && text_max >= 1'000 ? boost::json::serialize(*m.profile) : "null";
  append_member(out, "error_type", m.error_type, true);
  append_member(out, "log_dir", m.log_dir, true);
  append_member(out, "run_id", m.run_id);
  append_member(out, "outcome", m.outcome);
  append_member(out, "note", shortened(m.note, text_max), true);
  append_member(out, "schema", shortened(m.schema, text_max), true);
  append_member(out, "revision", m.revision, true);
  char seconds[48];
  std::snprintf(seconds, sizeof seconds, ",\"execution_time_seconds\":%.6f}", m.execution_seconds);
  out += seconds;
  return out;
}

}  // namespace

const OutcomeRow& outcome_row(std::string_view outcome) {
  for (const auto& row : kOutcomes)
    if (row.outcome == outcome) return row;
  return kOutcomes[10];
}

std::string_view outcome_of(RunEnd end) {
  switch (end) {
    case RunEnd::reported: return "ok";
    case RunEnd::timeout: return "timeout";
    case RunEnd::out_of_memory: return "out_of_memory";
    case RunEnd::limit_exceeded: return "limit_exceeded";
    case RunEnd::crashed: return "crashed";
    case RunEnd::no_result: return "no_result";
    case RunEnd::cancelled: return "cancelled";
  }
  return "crashed";
}

std::string metadata_header(const Metadata& metadata, std::size_t bytes_max) {
  std::string out;
  for (std::size_t text_max = 8'000;; text_max /= 2) {
    out = build(metadata, text_max);
    if (out.size() <= bytes_max || text_max < 32) return out;
  }
}

}  // namespace fused
