// calls.parquet of a batch, made of the file of its results (batch/batch_results.hpp).
#pragma once
#include <cstdint>
#include <string>

#include "base/result.hpp"

namespace fused::reader {

inline constexpr std::int64_t kBatchStreamBytesMax = 64 << 20;  // of stdout and stderr of all calls; then they are null

// `results`: open to be read, `bytes` long; `table`: open and empty. A row for each call that ended, by its index:
//   index, arguments_sha256, status, attempts, started, seconds, stdout, stderr, error (JSON), result_bytes,
//   streams_cut
Status write_calls_table(int results, std::uint64_t bytes, int table);

}  // namespace fused::reader
