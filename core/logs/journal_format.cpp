#include "logs/journal_format.hpp"

#include <sodium.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "logs/streams.hpp"

namespace fused {
namespace {

static_assert(std::endian::native == std::endian::little, "the journal is written in the machine's byte order");
static_assert(crypto_shorthash_BYTES == 8 && crypto_shorthash_KEYBYTES == sizeof(JournalKey));

constexpr std::string_view kSegmentMagic = "FUSEDRJ1";
constexpr std::uint32_t kSegmentVersion = 1;
constexpr std::string_view kFrameMagic = "FRAM";
constexpr std::size_t kFrameMagicAt = 8;
constexpr std::size_t kHashedFrom = 8;
constexpr std::size_t kFieldHeadBytes = 6;
constexpr std::size_t kSearchBytesMax = 512u
                                        << 20;  // hashed while looking for the next frame: output may be full of magics

// Never reuse a number.
enum class Tag : std::uint16_t {
  request_id = 1,
  user_email,
  udf_name,
  collection_name,
  started,
  execution_time_seconds,
  outcome,
  parameters_json,
  revision,
  udf_id,
  entrypoint,
  cached_from,
  peak_memory_bytes,
  format,
  result_bytes,
  error_class,
  error_message,
  code_hash,
  stdout_text,
  stderr_text,
  code_number,
  appended,
  parameters_bytes,
  x_request_id,
  share_token_id,
  result_sha256,
  tile,
  environment,
  files_json,
  functions_json,
  batch_json,
  calls_file,
  code_key = 64,
  code_name,
  code_entrypoint,
  code_code,
  code_headers,
};

template <class T>
T number_at(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}
template <class T>
void append_number(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_field(std::string& out, Tag tag, std::string_view text) {
  if (text.empty()) return;
  append_number(out, static_cast<std::uint16_t>(tag));
  append_number(out, static_cast<std::uint32_t>(text.size()));
  out += text;
}
template <class T>
  requires std::is_arithmetic_v<T>
void append_field(std::string& out, Tag tag, T value) {
  append_field(out, tag, std::string_view(reinterpret_cast<const char*>(&value), sizeof value));
}

void append_bounded(std::string& out, Tag tag, std::string_view text, std::size_t limit) {
  if (text.size() <= limit)
    append_field(out, tag, text);
  else
    append_field(out, tag, keep_ends(text, limit));
}

std::int64_t microseconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}
WallTime wall_time(std::int64_t micros) {
  constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max() / 1'000;  // a WallTime counts nanoseconds
  micros = std::clamp(micros, -kLargest, kLargest);
  return WallTime(std::chrono::duration_cast<WallTime::duration>(std::chrono::microseconds(micros)));
}

std::uint64_t checksum(std::string_view bytes, const JournalKey& key) {
  std::uint64_t hash = 0;
  crypto_shorthash(reinterpret_cast<unsigned char*>(&hash), reinterpret_cast<const unsigned char*>(bytes.data()),
                   bytes.size(), key.data());
  return hash;
}

void begin_frame(std::string& out, JournalKind kind) {
  out.assign(8, '\0');
  out += kFrameMagic;
  append_number(out, static_cast<std::uint16_t>(kind));
  append_number(out, std::uint16_t{0});
  append_number(out, std::uint32_t{0});
}
void end_frame(std::string& out, const JournalKey& key) {
  const auto length = static_cast<std::uint32_t>(out.size() - kFrameOverheadBytes);
  std::memcpy(out.data() + 16, &length, sizeof length);
  const std::uint64_t hash = checksum(std::string_view(out).substr(kHashedFrom), key);
  std::memcpy(out.data(), &hash, sizeof hash);
}

// Calls `take(tag, bytes)` for each field; an error when the payload is not a list of fields.
template <class Take>
Status each_field(std::string_view payload, Take&& take) {
  while (!payload.empty()) {
    if (payload.size() < kFieldHeadBytes) return fail(ErrorKind::internal, "a journal field has no head");
    const auto tag = number_at<std::uint16_t>(payload, 0);
    const auto length = number_at<std::uint32_t>(payload, 2);
    payload.remove_prefix(kFieldHeadBytes);
    if (length > payload.size())
      return fail(ErrorKind::internal, "journal field " + std::to_string(tag) + " claims " + std::to_string(length) +
                                           " bytes of " + std::to_string(payload.size()));
    take(static_cast<Tag>(tag), payload.substr(0, length));
    payload.remove_prefix(length);
  }
  return {};
}

template <class T>
void read_number(std::string_view bytes, T& into) {
  if (bytes.size() == sizeof(T)) into = number_at<T>(bytes, 0);
}

}  // namespace

std::string encode_segment_head(const JournalKey& key) {
  std::string out(kSegmentMagic);
  append_number(out, kSegmentVersion);
  append_number(out, std::uint32_t{0});
  out.append(reinterpret_cast<const char*>(key.data()), key.size());
  return out;
}

Result<JournalKey> decode_segment_head(std::string_view bytes) {
  if (bytes.size() < kSegmentHeadBytes || !bytes.starts_with(kSegmentMagic))
    return fail(ErrorKind::internal, "no journal segment: it does not begin with " + std::string(kSegmentMagic));
  const auto version = number_at<std::uint32_t>(bytes, 8);
  if (version != kSegmentVersion)
    return fail(ErrorKind::internal, "journal segment of version " + std::to_string(version) + "; this server reads 1");
  JournalKey key;
  std::memcpy(key.data(), bytes.data() + 16, key.size());
  return key;
}

void encode_code(std::string& out, const JournalKey& key, const JournalCode& code) {
  begin_frame(out, JournalKind::code);
  append_field(out, Tag::code_number, code.number);
  append_field(out, Tag::code_key, code.key);
  append_field(out, Tag::code_name, code.name);
  append_field(out, Tag::code_entrypoint, code.entrypoint);
  append_field(out, Tag::code_code, code.code);
  append_field(out, Tag::code_headers, code.headers_json);
  end_frame(out, key);
}

void encode_run(std::string& out, const JournalKey& key, const RunRecord& record, std::uint32_t code_number,
                WallTime appended) {
  begin_frame(out, JournalKind::run);
  append_field(out, Tag::request_id, record.request_id);
  append_field(out, Tag::user_email, record.user_email);
  append_field(out, Tag::udf_name, record.udf_name);
  append_field(out, Tag::collection_name, record.collection_name);
  append_field(out, Tag::started, microseconds(record.started));
  append_field(out, Tag::execution_time_seconds, record.execution_time_seconds);
  append_field(out, Tag::outcome, record.outcome);
  if (record.parameters_json.size() <= kLoggedParametersBytesMax)
    append_field(out, Tag::parameters_json, record.parameters_json);
  else
    append_field(out, Tag::parameters_bytes, static_cast<std::int64_t>(record.parameters_json.size()));
  append_field(out, Tag::revision, record.revision);
  append_field(out, Tag::udf_id, record.udf_id);
  append_field(out, Tag::entrypoint, record.entrypoint);
  append_field(out, Tag::cached_from, record.cached_from);
  append_field(out, Tag::x_request_id, record.x_request_id);
  append_field(out, Tag::share_token_id, record.share_token_id);
  append_field(out, Tag::result_sha256, record.result_sha256);
  append_field(out, Tag::tile, record.tile);
  append_field(out, Tag::environment, record.environment);
  if (record.files_json.size() <= kLoggedFilesBytesMax) append_field(out, Tag::files_json, record.files_json);
  if (record.functions_json.size() <= kLoggedFilesBytesMax)
    append_field(out, Tag::functions_json, record.functions_json);
  if (!record.batch_json.empty()) append_field(out, Tag::batch_json, record.batch_json);
  if (!record.calls_file.empty()) append_field(out, Tag::calls_file, record.calls_file);
  append_field(out, Tag::peak_memory_bytes, record.peak_memory_bytes);
  append_field(out, Tag::format, record.format);
  append_field(out, Tag::result_bytes, record.result_bytes);
  append_field(out, Tag::error_class, record.error_class);
  append_bounded(out, Tag::error_message, record.error_message, kLoggedMessageBytesMax);
  append_field(out, Tag::code_number, code_number);
  append_field(out, Tag::appended, microseconds(appended));
  append_bounded(out, Tag::stdout_text, record.stdout_text, kLoggedStreamBytesMax);
  append_bounded(out, Tag::stderr_text, record.stderr_text, kLoggedStreamBytesMax);
  end_frame(out, key);
}

std::optional<JournalFrame> decode_frame(std::string_view bytes, const JournalKey& key, std::size_t* size_hint) {
  if (size_hint) *size_hint = 0;
  if (bytes.size() < kFrameOverheadBytes || bytes.substr(kFrameMagicAt, kFrameMagic.size()) != kFrameMagic) return {};
  const auto length = number_at<std::uint32_t>(bytes, 16);
  if (length > kFramePayloadBytesMax) return {};
  const std::size_t size = kFrameOverheadBytes + length;
  if (size_hint) *size_hint = size;
  if (size > bytes.size()) return {};
  if (checksum(bytes.substr(kHashedFrom, size - kHashedFrom), key) != number_at<std::uint64_t>(bytes, 0)) return {};
  return JournalFrame{static_cast<JournalKind>(number_at<std::uint16_t>(bytes, 12)),
                      bytes.substr(kFrameOverheadBytes, length), size};
}

std::size_t find_next_frame(std::string_view bytes, const JournalKey& key) {
  std::size_t hashed = 0;
  for (std::size_t at = bytes.find(kFrameMagic, kFrameMagicAt + 1);
       at != std::string_view::npos && hashed < kSearchBytesMax; at = bytes.find(kFrameMagic, at + 1)) {
    const std::string_view rest = bytes.substr(at - kFrameMagicAt);
    std::size_t size = 0;
    if (decode_frame(rest, key, &size)) return at - kFrameMagicAt;
    if (size <= rest.size()) hashed += size;
  }
  return std::string_view::npos;
}

Result<JournalCode> decode_code(std::string_view payload) {
  JournalCode code;
  FUSED_CHECK(each_field(payload, [&](Tag tag, std::string_view bytes) {
    switch (tag) {
      case Tag::code_number: read_number(bytes, code.number); break;
      case Tag::code_key: code.key = bytes; break;
      case Tag::code_name: code.name = bytes; break;
      case Tag::code_entrypoint: code.entrypoint = bytes; break;
      case Tag::code_code: code.code = bytes; break;
      case Tag::code_headers: code.headers_json = bytes; break;
      default: break;
    }
  }));
  return code;
}

Result<JournalRun> decode_run(std::string_view payload) {
  JournalRun run;
  RunRecord& record = run.record;
  std::int64_t started = 0, appended = 0;
  FUSED_CHECK(each_field(payload, [&](Tag tag, std::string_view bytes) {
    switch (tag) {
      case Tag::request_id: record.request_id = bytes; break;
      case Tag::user_email: record.user_email = bytes; break;
      case Tag::udf_name: record.udf_name = bytes; break;
      case Tag::collection_name: record.collection_name = bytes; break;
      case Tag::started: read_number(bytes, started); break;
      case Tag::execution_time_seconds: read_number(bytes, record.execution_time_seconds); break;
      case Tag::outcome: record.outcome = bytes; break;
      case Tag::parameters_bytes: read_number(bytes, run.parameters_bytes); break;
      case Tag::parameters_json: record.parameters_json = bytes; break;
      case Tag::revision: record.revision = bytes; break;
      case Tag::udf_id: record.udf_id = bytes; break;
      case Tag::entrypoint: record.entrypoint = bytes; break;
      case Tag::cached_from: record.cached_from = bytes; break;
      case Tag::x_request_id: record.x_request_id = bytes; break;
      case Tag::share_token_id: record.share_token_id = bytes; break;
      case Tag::result_sha256: record.result_sha256 = bytes; break;
      case Tag::tile: record.tile = bytes; break;
      case Tag::environment: record.environment = bytes; break;
      case Tag::files_json: record.files_json = bytes; break;
      case Tag::functions_json: record.functions_json = bytes; break;
      case Tag::batch_json: record.batch_json = bytes; break;
      case Tag::calls_file: record.calls_file = bytes; break;
      case Tag::peak_memory_bytes: read_number(bytes, record.peak_memory_bytes); break;
      case Tag::format: record.format = bytes; break;
      case Tag::result_bytes: read_number(bytes, record.result_bytes); break;
      case Tag::error_class: record.error_class = bytes; break;
      case Tag::error_message: record.error_message = bytes; break;
      case Tag::code_number: read_number(bytes, run.code_number); break;
      case Tag::appended: read_number(bytes, appended); break;
      case Tag::stdout_text: record.stdout_text = bytes; break;
      case Tag::stderr_text: record.stderr_text = bytes; break;
      default: break;
    }
  }));
  record.started = wall_time(started);
  run.appended = wall_time(appended);
  return run;
}

}  // namespace fused
