#include "ingest/partition/rules.hpp"

#include <cmath>

namespace fused::ingest {
namespace {

constexpr std::int64_t kRowsPerChunk = 20'000;
constexpr std::int64_t kChunksMin = 100;
constexpr double kChunksPerFile = 10;

const char* method_name(Weight method) {
  static constexpr const char* kNames[] = {"rows", "area", "length", "coords"};
  return kNames[static_cast<int>(method)];
}
double steps_of(Weight method) { return method == Weight::area || method == Weight::length ? kLoadSteps : 1.0; }

Sum whole(double value, Weight method) {
  const double steps = std::min(std::ceil(value * steps_of(method) - 1e-6), 1e36);
  return static_cast<Sum>(std::max(1.0, steps));
}

}  // namespace

Cut cut_of(const Extent& extent, const Limits& limits, const PartitionOptions& options) {
  if (extent.count <= 1) return {};
  if (extent.maxx == kNowhere && extent.minx != kNowhere) return {Split::x, kNowhere};
  if (limits.utm && extent.maxx != kNowhere) {
    const std::uint32_t west = utm_zone(extent.minx), east = utm_zone(extent.maxx);
    if (west != east) return {Split::x, (west + east + 1) / 2 * kStepsPerZone};
    if (is_north(extent.miny) != is_north(extent.maxy)) return {Split::y, kEquator};
  }
  const double width = (extent.maxx - extent.minx) * kDegreesPerStepX;
  const double height = (extent.maxy - extent.miny) * kDegreesPerStepY;
  if (extent.weight > limits.weight_max) {
    if (extent.identical()) return options.split_identical_centroids ? Cut{.split = Split::row, .median = true} : Cut{};
    const Split axis = width >= height ? Split::x : Split::y;
    if (options.split == SplitMethod::median) return {.split = axis, .median = true};
    const std::uint64_t sum = axis == Split::x ? extent.sumx : extent.sumy;
    return {axis, static_cast<std::uint32_t>(sum / extent.count) + 1};
  }
  // A box without width or height has no ratio.
  if (height > 0 && width > options.max_width_ratio * height)
    return {.split = Split::x, .threshold = extent.minx + (extent.maxx - extent.minx) / 2 + 1, .ratio = true};
  if (width > 0 && height > options.max_height_ratio * width)
    return {.split = Split::y, .threshold = extent.miny + (extent.maxy - extent.miny) / 2 + 1, .ratio = true};
  return {};
}

bool ratio_cut_helps(const Extent& whole, const Extent& below, const Extent& above, const PartitionOptions& options) {
  // How far a box is beyond what is allowed: above 1 when it is.
  const auto excess = [&](const Extent& extent) {
    const double width = (extent.maxx - extent.minx) * kDegreesPerStepX;
    const double height = (extent.maxy - extent.miny) * kDegreesPerStepY;
    if (extent.count <= 1 || width == 0 || height == 0) return 0.0;
    return std::max(width / (options.max_width_ratio * height), height / (options.max_height_ratio * width));
  };
  return std::min(excess(below), excess(above)) < 0.75 * excess(whole);
}

Result<Rules> rules_of(const PartitionOptions& options, const Extent& all, double& per_file, double& per_chunk) {
  const double total = static_cast<double>(all.weight) / steps_of(options.weight);
  if (all.weight == 0 && all.count > 0)
    return fail(ErrorKind::invalid_argument,
                std::string("partitioning_method is '") + method_name(options.weight) + "', but no geometry has any " +
                    (options.weight == Weight::coords ? "coordinates" : method_name(options.weight)) + "; use 'rows'" +
                    (options.weight == Weight::coords ? "" : " or 'coords'"));
  const double wanted = static_cast<double>(
      std::min<std::int64_t>(options.target_num_chunks,
                             std::max<std::int64_t>(kChunksMin, static_cast<std::int64_t>(all.count) / kRowsPerChunk)));
  if (options.maximum_per_file)
    per_file = *options.maximum_per_file;
  else if (options.maximum_per_chunk)
    per_file = std::max(*options.maximum_per_chunk * kChunksPerFile, total / 10);
  else
    per_file = total * std::min(1.0, kChunksPerFile / wanted);
  if (options.maximum_per_chunk)
    per_chunk = *options.maximum_per_chunk;
  else
    per_chunk = options.maximum_per_file ? *options.maximum_per_file / kChunksPerFile : total / wanted;
  per_chunk = std::min(per_chunk, per_file);
  Rules rules{options, {}, {}};
  rules.file = {whole(per_file, options.weight), options.utm == UtmForce::file};
  rules.chunk = {whole(per_chunk, options.weight), options.utm != UtmForce::none};
  return rules;
}

}  // namespace fused::ingest
