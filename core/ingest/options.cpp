#include "ingest/options.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

namespace fused::ingest {
namespace {

namespace json = boost::json;

template <class T>
void take(const json::object& from, std::string_view key, T& to) {
  const json::value* value = from.if_contains(key);
  if (value != nullptr && !value->is_null()) to = json::value_to<T>(*value);
}
template <class T>
void take(const json::object& from, std::string_view key, std::optional<T>& to) {
  const json::value* value = from.if_contains(key);
  if (value != nullptr && !value->is_null()) to = json::value_to<T>(*value);
}

Status positive(std::string_view name, std::optional<double> value) {
  if (value && !(*value > 0 && std::isfinite(*value)))
    return fail(ErrorKind::invalid_argument,
                std::string(name) + " is " + std::to_string(*value) + "; it must be greater than 0");
  return {};
}

Status check(const Options& options) {
  const PartitionOptions& partition = options.partition;
  FUSED_CHECK(positive("partitioning_maximum_per_file", partition.maximum_per_file));
  FUSED_CHECK(positive("partitioning_maximum_per_chunk", partition.maximum_per_chunk));
  FUSED_CHECK(positive("partitioning_max_width_ratio", partition.max_width_ratio));
  FUSED_CHECK(positive("partitioning_max_height_ratio", partition.max_height_ratio));
  if (partition.max_width_ratio * partition.max_height_ratio < 1)
    return fail(ErrorKind::invalid_argument,
                "partitioning_max_width_ratio and partitioning_max_height_ratio contradict each other: no box is both "
                "at most " +
                    std::to_string(partition.max_width_ratio) + " times as wide as high and at most " +
                    std::to_string(partition.max_height_ratio) + " times as high as wide");
  if (partition.maximum_per_file && partition.maximum_per_chunk &&
      *partition.maximum_per_chunk > *partition.maximum_per_file)
    return fail(ErrorKind::invalid_argument,
                "partitioning_maximum_per_chunk (" + std::to_string(*partition.maximum_per_chunk) +
                    ") and partitioning_maximum_per_file (" + std::to_string(*partition.maximum_per_file) +
                    ") contradict each other: a chunk lies within one file");
  if (partition.target_num_chunks < 1)
    return fail(ErrorKind::invalid_argument,
                "target_num_chunks is " + std::to_string(partition.target_num_chunks) + "; it must be at least 1");
  FUSED_CHECK(positive("subdivide_start", options.subdivide_start));
  if (options.subdivide_start && !(options.subdivide_stop > 0 && options.subdivide_stop <= *options.subdivide_start))
    return fail(ErrorKind::invalid_argument, "subdivide_stop (" + std::to_string(options.subdivide_stop) +
                                                 ") must be greater than 0 and at most subdivide_start (" +
                                                 std::to_string(*options.subdivide_start) + ")");
  if (options.memory_limit < 200'000'000)
    return fail(ErrorKind::invalid_argument,
                "memory_limit is " + std::to_string(options.memory_limit) + " bytes; at least 200000000 are needed");
  return {};
}

template <class Enum, std::size_t n>
Status named(const json::object& from, std::string_view key, Enum& to, const std::pair<const char*, Enum> (&names)[n]) {
  const json::value* value = from.if_contains(key);
  if (value == nullptr) return {};
  const std::string text = value->is_null() ? "none" : json::value_to<std::string>(*value);
  std::string allowed;
  for (const auto& [name, meaning] : names) {
    if (text == name) {
      to = meaning;
      return {};
    }
    allowed += (allowed.empty() ? "'" : ", '") + std::string(name) + "'";
  }
  return fail(ErrorKind::invalid_argument, std::string(key) + " is '" + text + "', allowed are " + allowed);
}

Result<Options> read(const json::object& from) {
  Options options;
  take(from, "staging", options.staging);
  take(from, "output", options.output);
  take(from, "memory_limit", options.memory_limit);
  take(from, "row_memory", options.row_memory);
  take(from, "scratch_limit", options.scratch_limit);
  take(from, "threads", options.threads);
  options.threads = std::clamp(options.threads, 1, 256);
  take(from, "dry_run", options.dry_run);
  take(from, "resume", options.resume);
  take(from, "fingerprint", options.fingerprint);
  take(from, "load_columns", options.load_columns);
  take(from, "remove_cols", options.remove_columns);
  take(from, "explode_geometries", options.explode);
  take(from, "drop_out_of_bounds", options.drop_out_of_bounds);
  take(from, "subdivide_start", options.subdivide_start);
  take(from, "subdivide_stop", options.subdivide_stop);
  PartitionOptions& partition = options.partition;
  FUSED_CHECK(
      named(from, "partitioning_method", partition.weight,
            {{"rows", Weight::rows}, {"area", Weight::area}, {"length", Weight::length}, {"coords", Weight::coords}}));
  FUSED_CHECK(named(from, "partitioning_force_utm", partition.utm,
                    {{"file", UtmForce::file}, {"chunk", UtmForce::chunk}, {"none", UtmForce::none}}));
  FUSED_CHECK(named(from, "partitioning_split_method", partition.split,
                    {{"mean", SplitMethod::mean}, {"median", SplitMethod::median}}));
  take(from, "partitioning_maximum_per_file", partition.maximum_per_file);
  take(from, "partitioning_maximum_per_chunk", partition.maximum_per_chunk);
  take(from, "partitioning_max_width_ratio", partition.max_width_ratio);
  take(from, "partitioning_max_height_ratio", partition.max_height_ratio);
  take(from, "split_identical_centroids", partition.split_identical_centroids);
  take(from, "target_num_chunks", partition.target_num_chunks);
  take(from, "partitioning_schema_input", partition.schema_input);
  take(from, "write_covering_bbox", options.write_covering);
  take(from, "compression_level", options.compression_level);
  take(from, "file_prefix", options.file_prefix);
  FUSED_CHECK(check(options));
  return options;
}

}  // namespace

Result<Options> parse_options(std::string_view text) {
  try {
    return read(json::parse(text).as_object());
  } catch (const std::exception& error) {
    return fail(ErrorKind::invalid_argument, std::string("the ingest's options cannot be read: ") + error.what());
  }
}

}  // namespace fused::ingest
