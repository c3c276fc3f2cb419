// The `_sample` file of a table: what chunks there are and where. A Parquet file whose key-value metadata holds
// `fused:format_version` ("5"; "4" is read too) and `fused:_metadata`, the base64 of another Parquet file with one row
// a chunk. Written by ingest (last, so that a table is there only when it is whole), read by everybody who opens one.
#pragma once
#include <arrow/table.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "geo/tile.hpp"

namespace fused {

inline constexpr std::int64_t kSampleBytesMax = 512LL << 20;  // of the file
inline constexpr std::int64_t kSampleMemoryMax = 1LL << 30;   // while it is read
inline constexpr std::int64_t kTableChunksMax = 5'000'000;    // of one table
inline constexpr std::string_view kSampleName = "_sample";

// One row group of `{file_id}.parquet`; chunk_id is its index there. The box covers every geometry of the chunk, in
// degrees (EPSG:4326); all four are NaN when it has none. What a foreign `_sample` does not say is NaN (sums) or -1.
struct ChunkRow {
  std::string file_id;
  std::int64_t chunk_id = 0;
  Box box;
  double sum_area = 0;    // square degrees
  double sum_length = 0;  // degrees
  std::int64_t num_coords = 0;
  std::int64_t num_rows = 0;
  bool operator==(const ChunkRow&) const = default;
};

// Bytes of a `_sample` file of version 5. The same rows give the same bytes. invalid_argument names the row that
// parse_sample would refuse.
Result<std::string> sample_bytes(std::span<const ChunkRow> rows);

// From untrusted bytes, in the order of the file. unprocessable says what is wrong: not Parquet, another version, no
// metadata, a column missing or of another type, a file id that is no plain file name, a chunk named twice, a box that
// is none, more than the limits above.
Result<std::vector<ChunkRow>> parse_sample(std::string_view bytes);

// The inner table as it stands, every column: what get_chunks_metadata shows. Not checked row by row.
Result<std::shared_ptr<arrow::Table>> sample_table(std::string_view bytes);

// Letters, digits, "_", "-", "." and what else a file may be called: not empty, no "/", no control character, at most
// 200 bytes, not starting with "." or "_".
bool is_file_id(std::string_view text);

}  // namespace fused
