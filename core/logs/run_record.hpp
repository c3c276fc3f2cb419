// What is kept of one executed run: the four files of the seed ("logs/") are made from it.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.hpp"

namespace fused {

struct RunRecord {
  std::string request_id;  // the folder's name: the run id, "<id>.2" for a second attempt
  std::string user_email;  // who asked; for a share-token visitor the function's owner
  std::string udf_name;
  std::string collection_name;  // "default" where there is none
  WallTime started;
  double execution_time_seconds = 0;  // never null: wall time also of a run that was killed
  std::string outcome;                // "ok", "user_error", "timeout", … (ARCHITECTURE.md, "Outcomes")
  std::string
      parameters_json;   // a JSON object; over kLoggedParametersBytesMax only its size is kept, and the file says so
  std::string revision;  // of a saved function, else ""
  std::string udf_id;    // of a saved function, else ""
  std::string entrypoint;
  std::string cached_from;     // the run whose result this is, else ""
  std::string x_request_id;    // of the HTTP request that began it, as its reply and the server's own lines name it
  std::string share_token_id;  // by which it came, also where functions called each other on the way; else ""
  std::int64_t peak_memory_bytes = 0;
  std::string format;  // of the result
  std::int64_t result_bytes = 0;
  std::string result_sha256;   // of its bytes, hexadecimal; "" where there is no result
  std::string tile;            // "z/x/y", else ""
  std::string environment;     // digest of interpreter and packages, hexadecimal; "" where nobody looked
  std::string files_json;      // a JSON array of {"path","size","mtime_ns"}: what it said it read; "": nothing
  std::string functions_json;  // a JSON array of {"id","revision"}: saved functions that it loaded or ran; "": none
  std::string batch_json;      // of a batch: a JSON object, how many calls there were and how they ended; else ""
  std::string calls_file;      // of a batch: the table of its calls, which becomes calls.parquet of its folder; else ""
  std::string error_class;     // of a failed run
  std::string error_message;
  std::shared_ptr<const std::string> code;
  std::shared_ptr<const std::string> headers_json;  // a JSON array of {"module_name","source_code"}; null: []
  std::string code_hash;  // of code, entrypoint and headers (FunctionSource::code_hash): equal code is stored once and
                          // hard-linked; "" lets the log compute it
  std::string stdout_text;  // as it will stand in stdout.log, cuts said in it (streams.hpp)
  std::string stderr_text;  // "" for a run that succeeded
};

constexpr std::size_t kLoggedParametersBytesMax = 64 << 10;
constexpr std::size_t kLoggedFilesBytesMax = 256 << 10;   // of files_json; over it none is kept
constexpr std::size_t kLoggedMessageBytesMax = 64 << 10;  // of error_message; the cut is said in it
constexpr std::size_t kLoggedStreamBytesMax = 64 << 20;  // of each stream, whatever its caller allowed; the cut is said

}  // namespace fused
