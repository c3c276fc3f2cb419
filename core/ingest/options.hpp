// What an ingest is asked to do, read once from the JSON that the Python face sends (docs/reference/ingest.md explains
// each). Nothing here can be contradictory: parse_options refuses it, naming both.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace fused::ingest {

enum class Weight { rows, area, length, coords };  // partitioning_method
enum class UtmForce { none, file, chunk };
enum class SplitMethod { mean, median };

struct PartitionOptions {
  Weight weight = Weight::rows;
  std::optional<double> maximum_per_file, maximum_per_chunk;
  double max_width_ratio = 2, max_height_ratio = 2;  // of a partition's box of centroids
  UtmForce utm = UtmForce::chunk;
  SplitMethod split = SplitMethod::mean;
  bool split_identical_centroids = true;
  std::int64_t target_num_chunks = 5000;
  std::string schema_input;  // Parquet file of boxes, or ""
};

struct Options {
  std::string staging;                      // folder in which the table is made; exists
  std::string output;                       // for messages
  std::int64_t memory_limit = 500'000'000;  // bytes of the process
  std::optional<std::int64_t> row_memory;  // for packed rows and keys between reading and writing; else by memory_limit
  std::int64_t scratch_limit = std::numeric_limits<std::int64_t>::max();
  int threads = 1;
  bool dry_run = false;     // read and partition only
  bool resume = false;      // use what a killed ingest with the same fingerprint left in `staging`
  std::string fingerprint;  // of options and inputs

  std::optional<std::vector<std::string>> load_columns;
  std::vector<std::string> remove_columns;
  bool explode = false;
  bool drop_out_of_bounds = true;
  std::optional<double> subdivide_start;
  double subdivide_stop = 0;

  PartitionOptions partition;

  bool write_covering = true;
  int compression_level = 1;  // zstd
  std::string file_prefix;    // before the number of each file
};

Result<Options> parse_options(std::string_view json);

}  // namespace fused::ingest
