#include "logs/metadata.hpp"

#include <boost/json/parse.hpp>
#include <cmath>
#include <cstdio>

#include "logs/json_text.hpp"

namespace fused {
namespace {

class JsonLines {
 public:
  void text(std::string_view key, std::string_view value) {
    begin(key);
    append_json_string(out_, value);
  }
  void text_or_null(std::string_view key, std::string_view value) {
    if (value.empty())
      raw(key, "null");
    else
      text(key, value);
  }
  void raw(std::string_view key, std::string_view json) {
    begin(key);
    out_ += json;
  }
  void number(std::string_view key, std::int64_t value) { raw(key, std::to_string(value)); }
  // JSON that came from elsewhere: kept when it is what it should be, else as a string, so that the file stays
  // readable.
  void foreign(std::string_view key, std::string_view json, boost::json::kind expected) {
    boost::system::error_code error;
    const auto value = boost::json::parse(json, error);
    if (error || value.kind() != expected) return text(key, json);
    begin(key);
    append_json_escaped(out_, json);
  }
  std::string finish() && { return std::move(out_) + "\n}\n"; }

 private:
  void begin(std::string_view key) {
    out_ += out_.empty() ? "{\n  \"" : ",\n  \"";
    out_ += key;
    out_ += "\": ";
  }
  std::string out_;
};

std::string seconds_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) seconds = 0;
  char text[400];
  return std::string(text, static_cast<std::size_t>(std::snprintf(text, sizeof text, "%.6f", seconds)));
}

}  // namespace

std::string metadata_json(const JournalRun& run) {
  const RunRecord& record = run.record;
  JsonLines json;
  json.text("user_email", record.user_email);
  json.text("udf_name", record.udf_name);
  json.text("collection_name", record.collection_name.empty() ? "default" : record.collection_name);
  json.raw("execution_time_seconds", seconds_text(record.execution_time_seconds));
  json.text("request_id", record.request_id);
  json.text("outcome", record.outcome);
  json.text("started_at", format_utc(record.started));
  if (run.parameters_bytes > 0) {
    json.raw("parameters", "null");
    json.text("parameters_note", "left out: " + with_thousands(run.parameters_bytes) + " bytes; up to " +
                                     with_thousands(kLoggedParametersBytesMax) + " are kept");
  } else {
    json.foreign("parameters", record.parameters_json.empty() ? "{}" : record.parameters_json,
                 boost::json::kind::object);
  }
  json.text_or_null("entrypoint", record.entrypoint);
  json.text_or_null("udf_id", record.udf_id);
  json.text_or_null("revision", record.revision);
  json.text_or_null("cached_from", record.cached_from);
  json.text_or_null("x_request_id", record.x_request_id);
  json.text_or_null("share_token_id", record.share_token_id);
  json.text_or_null("format", record.format);
  json.number("result_bytes", record.result_bytes);
  json.text_or_null("result_sha256", record.result_sha256);
  json.text_or_null("tile", record.tile);
  json.text_or_null("environment", record.environment);
  if (!record.files_json.empty()) json.foreign("files", record.files_json, boost::json::kind::array);
  if (!record.functions_json.empty()) json.foreign("functions", record.functions_json, boost::json::kind::array);
  if (!record.batch_json.empty()) json.foreign("batch", record.batch_json, boost::json::kind::object);
  json.number("peak_memory_bytes", record.peak_memory_bytes);
  json.text_or_null("error_class", record.error_class);
  json.text_or_null("error_message", record.error_message);
  return std::move(json).finish();
}

std::string udf_json(const JournalCode& code) {
  JsonLines json;
  json.text("code", code.code);
  json.text("name", code.name);
  json.text_or_null("entrypoint", code.entrypoint);
  json.foreign("headers", code.headers_json.empty() ? "[]" : code.headers_json, boost::json::kind::array);
  return std::move(json).finish();
}

}  // namespace fused
