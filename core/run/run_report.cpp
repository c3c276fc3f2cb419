#include "run/run_report.hpp"

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "logs/post_mortem.hpp"
#include "logs/run_path.hpp"
#include "run/cached_run_key.hpp"
#include "run/run_order_json.hpp"

namespace fused {
namespace json = boost::json;
namespace {

std::string text(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

double number(const json::object& object, std::string_view name, double fallback) {
  const auto* value = object.if_contains(name);
  return value && value->is_number() ? value->to_number<double>() : fallback;
}

std::vector<std::pair<int, std::uint64_t>> stream_order(const json::object& header) {
  std::vector<std::pair<int, std::uint64_t>> order;
  const auto* value = header.if_contains("stream_order");
  if (!value || !value->is_array()) return order;
  for (const auto& part : value->get_array()) {
    if (!part.is_array() || part.get_array().size() != 2) continue;
    const auto& pair = part.get_array();
    if (pair[0].is_int64() && pair[1].is_int64() && pair[1].get_int64() >= 0)
      order.emplace_back(static_cast<int>(pair[0].get_int64()), static_cast<std::uint64_t>(pair[1].get_int64()));
  }
  return order;
}

std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

// 'File "f.py", line 7 in udf' without what stands before it; "" for any other line.
std::string_view frame_of(std::string_view line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  return line.starts_with("File \"") ? line : std::string_view();
}

// A function's text and its header modules have plain names; everything else has a path or <…>.
bool is_own_frame(std::string_view frame) { return frame.size() > 6 && frame[6] != '/' && frame[6] != '<'; }

// Where the function was: of a fault handler's dump (most recent call first) the first frame in the function's own
// text, else the first of all.
std::string last_line_of(std::string_view dump) {
  constexpr std::string_view kHead = "(most recent call first):\n";
  const std::size_t at = dump.rfind(kHead);
  if (at == std::string_view::npos) return {};
  std::string_view first;
  for (std::string_view rest = dump.substr(at + kHead.size()); !rest.empty();) {
    const std::string_view frame = frame_of(take_line(rest));
    if (frame.empty()) break;
    if (is_own_frame(frame)) return std::string(frame);
    if (first.empty()) first = frame;
  }
  return std::string(first);
}

// Likewise of a traceback, whose most recent call stands last.
std::string last_line_of_traceback(std::string_view traceback) {
  std::string_view last;
  while (!traceback.empty())
    if (const auto frame = frame_of(take_line(traceback)); is_own_frame(frame)) last = frame;
  return std::string(last);
}

// 'File "/…/fused/_worker/runner.py", line 7 in run', as a fault handler writes it: a traceback has a comma more.
bool is_our_frame(std::string_view frame) {
  const std::size_t file_end = frame.find("\", line ");
  if (file_end == std::string_view::npos || frame.substr(0, file_end).find("/fused/_worker/") == frame.npos)
    return false;
  frame.remove_prefix(file_end + 8);
  frame.remove_prefix(std::min(frame.find_first_not_of("0123456789"), frame.size()));
  return frame.starts_with(" in ");
}

// The frames of our own worker say nothing to the function's author.
std::string without_our_frames(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t before = text.size();
    const std::string_view whole = text;
    const bool ours = is_our_frame(frame_of(take_line(text)));
    if (!ours) out += whole.substr(0, before - text.size());
  }
  return out;
}

// What nobody inside the function could say: how the run ended, under which limit, and where the function was.
PostMortem post_mortem(const RunReply& reply, std::string_view outcome, double seconds) {
  PostMortem end{.outcome = std::string(outcome),
                 .signal = reply.signal,
                 .peak_memory_bytes = reply.peak_memory_bytes,
                 .execution_time_seconds = seconds,
                 .error_message = reply.message,
                 .traceback = reply.last_lines};
  if (reply.exit_code >= 0) end.exit_status = reply.exit_code;
  if (outcome == "timeout")
    end.limit = "wall time of " + std::to_string(static_cast<double>(reply.limits.wall_ms) / 1e3) + " s";
  if (outcome == "out_of_memory") end.limit = "memory of " + std::to_string(reply.limits.memory_bytes) + " bytes";
  if (outcome == "limit_exceeded") end.limit = reply.message;
  return end;
}

struct Failure {
  std::string error_class;
  std::string message;
  std::string traceback;
  int line = 0;
};

Failure failure_of(const RunReply& reply, std::string_view outcome) {
  if (reply.end != RunEnd::reported) {
    const std::string name = outcome == "timeout"         ? "TimeoutError"
                             : outcome == "out_of_memory" ? "MemoryError"
                             : outcome == "cancelled"     ? "CancelledError"
                                                          : "RuntimeError";
    return {name, reply.message, {}, 0};
  }
  Failure failure;
  if (const auto* error = reply.header.if_contains("error"); error && error->is_object()) {
    const json::object& e = error->get_object();
    failure = {text(e, "class"), text(e, "message"), text(e, "traceback"), static_cast<int>(number(e, "line", 0))};
  }
  if (failure.error_class.empty()) failure.error_class = "RuntimeError";
  if (failure.message.empty()) failure.message = failure.error_class;  // the client takes an empty one for success
  if (outcome == "out_of_memory")
    failure.message += "; the function may use " + std::to_string(reply.limits.memory_bytes) + " bytes of memory";
  return failure;
}

void fill_success(RunOutcome& outcome, RunReply& reply) {
  outcome.content_type = text(reply.header, "content_type");
  outcome.format = text(reply.header, "format");
  outcome.status = static_cast<int>(number(reply.header, "status", 200));
  if (outcome.status < 200 || outcome.status > 599) outcome.status = 200;
  outcome.body = std::move(reply.body);
  if (const auto* headers = reply.header.if_contains("response_headers"); headers && headers->is_object())
    for (const auto& header : headers->get_object())
      if (header.value().is_string()) outcome.headers.emplace_back(header.key(), header.value().get_string());
}

// The worker's word for it: hashing here would hold up everybody. Only what is one is kept.
std::string sha256_of(const json::object& header) {
  std::string digest = text(header, "sha256");
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return digest.size() == 64 && std::ranges::all_of(digest, is_digit) ? digest : std::string();
}

RunRecord record_of(const RunRequest& request, WallTime started, const RunOutcome& outcome, std::int64_t peak) {
  RunRecord record;
  record.request_id = request.folder_id.empty() ? request.run_id : request.folder_id;
  record.user_email = request.actor.email;
  record.udf_name = request.function->name;
  record.collection_name = request.function->collection_name;
  record.started = started;
  record.execution_time_seconds = outcome.execution_seconds;
  record.outcome = outcome.outcome;
  record.parameters_json = parameters_json(request);
  record.revision = request.function->revision;
  record.udf_id = request.function->id;
  record.entrypoint = request.function->entrypoint;
  record.x_request_id = request.x_request_id;
  record.share_token_id = request.actor.share_token_id;
  record.peak_memory_bytes = peak;
  record.format = outcome.format;
  record.result_bytes = static_cast<std::int64_t>(outcome.body.view.size());
  if (request.tile) record.tile = tile_text(*request.tile);
  record.error_class = outcome.error_class;
  record.error_message = outcome.error_message;
  record.code = std::shared_ptr<const std::string>(request.function, &request.function->code);
  record.code_hash = request.function->code_hash;
  if (!request.function->headers.empty())
    record.headers_json = std::make_shared<const std::string>(headers_json(*request.function));
  return record;
}

}  // namespace

std::string headers_json(const FunctionSource& function) {
  json::array headers;
  for (const auto& header : function.headers)
    headers.push_back(json::object{{"module_name", header.module_name}, {"source_code", header.source_code}});
  return json::serialize(headers);
}

RunReport make_report(const RunRequest& request, RunReply& reply, const CapturedStream& out, const CapturedStream& err,
                      WallTime started, double seconds) {
  RunReport report;
  RunOutcome& outcome = report.outcome;
  outcome.run_id = request.run_id;
  outcome.outcome = reply.end == RunEnd::reported ? text(reply.header, "outcome") : std::string(outcome_of(reply.end));
  const OutcomeRow& row = outcome_row(outcome.outcome);
  outcome.outcome = std::string(row.outcome);
  outcome.status = row.status;
  outcome.execution_seconds = number(reply.header, "execution_ms", seconds * 1e3) / 1e3;
  outcome.note = text(reply.header, "note");
  if (!reply.limits_note.empty()) outcome.note += (outcome.note.empty() ? "" : "; ") + reply.limits_note;
  const std::string schema = text(reply.header, "schema");
  const std::string out_text = out.total_bytes() ? out.render() : std::string();
  const std::string err_text = err.total_bytes() ? err.render() : std::string();

  Metadata metadata{.stdout_text = out_text,
                    .stderr_text = err_text,
                    .error_type = row.error_type,
                    .run_id = request.run_id,
                    .outcome = outcome.outcome,
                    .note = outcome.note,
                    .schema = schema,
                    .revision = request.function->revision,
                    .execution_seconds = outcome.execution_seconds,
                    .profile = reply.header.if_contains("profile")};
  Failure failure;
  if (outcome.ok()) {
    fill_success(outcome, reply);
  } else {
    failure = failure_of(reply, outcome.outcome);
    outcome.error_class = failure.error_class;
    outcome.error_message = failure.message;
    outcome.traceback = failure.traceback;
    metadata.has_exception = true;
    metadata.exception_class = failure.error_class;
    metadata.line = failure.line;
    metadata.error_message = failure.message;
    metadata.exception = failure.traceback;
    if (const auto* formats = reply.header.if_contains("possible_formats");
        formats && formats->is_array() && !formats->get_array().empty())
      outcome.possible_formats = json::serialize(*formats);
  }
  report.record = record_of(request, started, outcome, reply.peak_memory_bytes);
  RunRecord& record = report.record;
  if (outcome.ok()) record.result_sha256 = sha256_of(reply.header);
  if (outcome.ok()) {
    record.stdout_text = err_text.empty() ? out_text : merge_streams(out, err, stream_order(reply.header));
  } else {
    record.stdout_text = out_text;
    const bool was_reported = reply.end == RunEnd::reported;
    if (!was_reported || outcome.outcome == "out_of_memory") {
      PostMortem end = post_mortem(reply, outcome.outcome, seconds);
      end.error_class = failure.error_class;
      if (was_reported) {
        end.error_message = failure.message;
        end.traceback = failure.traceback;
        end.last_line = last_line_of_traceback(failure.traceback);
      } else {
        end.last_line = last_line_of(reply.last_lines.empty() ? err_text : reply.last_lines);
      }
      record.stderr_text = without_our_frames(failure_stderr(out, err, end));
    } else {
      record.stderr_text = err_text;
      if (!err_text.empty() && err_text.back() != '\n') record.stderr_text += '\n';
      record.stderr_text +=
          failure.traceback.empty() ? failure.error_class + ": " + failure.message + "\n" : failure.traceback;
    }
  }
  // The official client shows a failed run's stderr and not "exception": it is what stderr.log holds.
  if (!outcome.ok()) metadata.stderr_text = record.stderr_text;
  const std::string log_dir = RunPath::of(record).as_seen_by_functions();
  metadata.log_dir = log_dir;
  outcome.metadata = metadata_header(metadata);
  return report;
}

}  // namespace fused
