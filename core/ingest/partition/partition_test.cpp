// The partition keeps its limits, and does not show how it was made.
#include "ingest/partition/partition.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace fused::ingest {
namespace {

struct Points {
  std::vector<Place> places;
  std::vector<std::uint32_t> loads;
};

Points clustered(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> near(0, 0.2);
  std::uniform_real_distribution<double> x(-120, 60), y(-40, 60);
  Points points;
  double cx = 0, cy = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (i % 100 == 0) {
      cx = x(random);
      cy = y(random);
    }
    points.places.push_back({steps_x(cx + near(random)), steps_y(cy + near(random))});
    points.loads.push_back(static_cast<std::uint32_t>(random() % 50));
  }
  return points;
}

// A store whose rows are 8 bytes, in blocks of 1000.
std::unique_ptr<RowStore> store_of(const Points& points, std::int64_t memory, bool with_loads) {
  auto scratch = Scratch::open("/tmp", "", 1 << 30);
  EXPECT_TRUE(scratch.has_value());
  auto store = std::make_unique<RowStore>(std::move(*scratch), memory, memory, with_loads, true);
  for (std::size_t from = 0; from < points.places.size(); from += 1000) {
    const std::size_t to = std::min(from + 1000, points.places.size());
    Block block;
    block.order = {0, 0, static_cast<std::uint32_t>(from), 0};
    block.rows = static_cast<std::uint32_t>(to - from);
    block.places.assign(points.places.begin() + static_cast<std::ptrdiff_t>(from),
                        points.places.begin() + static_cast<std::ptrdiff_t>(to));
    if (with_loads)
      block.loads.assign(points.loads.begin() + static_cast<std::ptrdiff_t>(from),
                         points.loads.begin() + static_cast<std::ptrdiff_t>(to));
    for (std::uint32_t i = 0; i <= block.rows; ++i) block.offsets.push_back(8 * i);
    block.packed_bytes = 8ULL * block.rows;
    block.bytes = Pages::allocate(block.packed_bytes);
    EXPECT_TRUE(store->add(std::move(block)).has_value());
  }
  EXPECT_TRUE(store->seal().has_value());
  return store;
}

constexpr std::int64_t kPlenty = 1 << 30;

Partition partition_of(const Points& points, const PartitionOptions& options, int threads = 1,
                       std::int64_t memory = kPlenty) {
  auto store = store_of(points, memory, options.weight != Weight::rows);
  Keys keys;
  auto made = make_partition(*store, options, threads, "/tmp", memory, keys);
  EXPECT_TRUE(made.has_value()) << (made ? "" : made.error().message);
  return made ? std::move(*made) : Partition{};
}

std::vector<Extent> extents(const Points& points, const Partition& partition, bool of_files) {
  std::vector<Extent> all(of_files ? partition.files : partition.chunks.size());
  for (std::uint32_t row = 0; row < points.places.size(); ++row) {
    const Place place = points.places[row];
    const std::uint32_t chunk = partition.chunk_of(place.x, place.y, row);
    all[of_files ? partition.chunks[chunk].file : chunk].add(place.x, place.y, points.loads[row]);
  }
  return all;
}

TEST(partition, keeps_maxima_and_ratios_and_loses_no_row) {
  const Points points = clustered(20'000, 1);
  PartitionOptions options;
  options.maximum_per_chunk = 300;
  options.maximum_per_file = 2500;
  const Partition partition = partition_of(points, options);
  std::uint64_t rows = 0;
  std::size_t beyond = 0;
  const auto chunks = extents(points, partition, false);
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    EXPECT_EQ(chunks[i].count, partition.chunks[i].rows);
    EXPECT_LE(chunks[i].count, 300U);
    rows += chunks[i].count;
    const double width = (chunks[i].maxx - chunks[i].minx) * kDegreesPerStepX;
    const double height = (chunks[i].maxy - chunks[i].miny) * kDegreesPerStepY;
    beyond += width > 2 * height || height > 2 * width;
  }
  EXPECT_EQ(rows, points.places.size());
  EXPECT_LE(beyond, chunks.size() / 20);  // those that halving would not bring nearer
  for (const Extent& file : extents(points, partition, true)) EXPECT_LE(file.count, 2500U);
}

TEST(partition, points_along_a_slanted_line_are_not_cut_for_their_shape) {
  Points points;
  for (int i = 0; i < 10'000; ++i) {
    points.places.push_back({steps_x(-10 + 20.0 * i / 10'000), steps_y(10 + 8.0 * i / 10'000)});
    points.loads.push_back(1);
  }
  PartitionOptions options;
  options.maximum_per_chunk = 1000;
  options.maximum_per_file = 5000;
  EXPECT_LE(partition_of(points, options).chunks.size(), 40U);
  EXPECT_EQ(partition_of(points, options, 1, 20'000).chunks.size(), partition_of(points, options).chunks.size());
}

TEST(partition, utm_zones_are_kept_per_chunk_or_per_file) {
  const Points points = clustered(20'000, 2);
  PartitionOptions options;
  const auto mixed = [&](bool of_files) {
    int count = 0;
    const Partition partition = partition_of(points, options);
    for (const Extent& each : extents(points, partition, of_files))
      count += utm_zone(each.minx) != utm_zone(each.maxx) || is_north(each.miny) != is_north(each.maxy);
    return count;
  };
  options.utm = UtmForce::chunk;
  EXPECT_EQ(mixed(false), 0);
  EXPECT_GT(mixed(true), 0);
  options.utm = UtmForce::file;
  EXPECT_EQ(mixed(true), 0);
  options.utm = UtmForce::none;
  EXPECT_GT(mixed(false), 0);
}

TEST(partition, is_the_same_whatever_threads_and_memory) {
  const Points points = clustered(60'000, 3);
  for (const SplitMethod split : {SplitMethod::mean, SplitMethod::median})
    for (const Weight weight : {Weight::rows, Weight::coords}) {
      PartitionOptions options;
      options.split = split;
      options.weight = weight;
      const Partition one = partition_of(points, options);
      for (const auto& [threads, memory] :
           {std::pair{4, kPlenty}, {2, std::int64_t{300'000}}, {1, std::int64_t{20'000}}}) {
        const Partition other = partition_of(points, options, threads, memory);
        ASSERT_EQ(other.chunks.size(), one.chunks.size());
        for (std::uint32_t row = 0; row < points.places.size(); ++row) {
          const Place place = points.places[row];
          ASSERT_EQ(other.chunk_of(place.x, place.y, row), one.chunk_of(place.x, place.y, row));
        }
      }
    }
}

TEST(partition, identical_centroids_are_split_by_number_or_left_whole) {
  Points points;
  for (int i = 0; i < 1000; ++i) {
    points.places.push_back({steps_x(7.5), steps_y(50)});
    points.loads.push_back(1);
  }
  PartitionOptions options;
  options.maximum_per_chunk = 100;
  options.maximum_per_file = 500;
  for (const Chunk& chunk : partition_of(points, options).chunks) EXPECT_LE(chunk.rows, 100U);
  options.split_identical_centroids = false;
  EXPECT_EQ(partition_of(points, options).chunks.size(), 1U);
}

TEST(partition, a_median_fills_chunks_better_than_a_mean) {
  const Points points = clustered(30'000, 4);
  PartitionOptions options;
  options.maximum_per_chunk = 1000;
  options.maximum_per_file = 10'000;
  options.max_height_ratio = options.max_width_ratio = 1e9;
  options.utm = UtmForce::none;
  const std::size_t mean = partition_of(points, options).chunks.size();
  options.split = SplitMethod::median;
  const Partition median = partition_of(points, options);
  EXPECT_LE(median.chunks.size(), mean);
  for (const Chunk& chunk : median.chunks) EXPECT_GE(chunk.rows, 450U);
}

TEST(partition, rows_without_geometry_have_a_file_of_their_own) {
  Points points = clustered(500, 5);
  for (int i = 0; i < 7; ++i) {
    points.places.push_back({});
    points.loads.push_back(0);
  }
  const Partition partition = partition_of(points, {});
  const std::uint32_t lost = partition.chunk_of(kNowhere, 0, 501);
  for (std::uint32_t row = 0; row < 500; ++row) {
    const std::uint32_t chunk = partition.chunk_of(points.places[row].x, points.places[row].y, row);
    EXPECT_NE(partition.chunks[chunk].file, partition.chunks[lost].file);
  }
}

TEST(partition, defaults_follow_the_number_of_rows) {
  PartitionOptions options;
  const auto maxima = [&](std::uint64_t rows) {
    Extent all;
    all.count = rows;
    all.weight = rows;
    double file = 0, chunk = 0;
    EXPECT_TRUE(rules_of(options, all, file, chunk).has_value());
    return std::pair{file, chunk};
  };
  EXPECT_EQ(maxima(200'000), (std::pair{20'000.0, 2'000.0}));             // a tenth, a hundredth
  EXPECT_EQ(maxima(20'000'000), (std::pair{200'000.0, 20'000.0}));        // 1000 chunks
  EXPECT_EQ(maxima(1'000'000'000), (std::pair{2'000'000.0, 200'000.0}));  // 5000: target_num_chunks
  options.maximum_per_file = 1000;
  EXPECT_EQ(maxima(200'000), (std::pair{1'000.0, 100.0}));
  options.maximum_per_chunk = 700;
  EXPECT_EQ(maxima(200'000), (std::pair{1'000.0, 700.0}));
}

TEST(keys, zones_and_equator_fall_on_steps) {
  for (int zone = 0; zone < 60; ++zone) {
    EXPECT_EQ(utm_zone(steps_x(-180 + 6.0 * zone)), static_cast<std::uint32_t>(zone));
    if (zone == 0) continue;
    const double west = -180 + 6.0 * zone - 1e-9;
    EXPECT_EQ(utm_zone(steps_x(west)), static_cast<std::uint32_t>(zone - 1));
  }
  EXPECT_EQ(utm_zone(steps_x(180)), 59U);
  EXPECT_TRUE(is_north(steps_y(0)));
  EXPECT_FALSE(is_north(steps_y(-1e-9)));
  EXPECT_NE(steps_x(1e300), kNowhere);
}

TEST(boxes, first_box_that_holds_a_point_else_the_nearest) {
  const BoxIndex boxes({{0, 0, 10, 10, 0}, {5, 5, 20, 20, 0}, {100, -10, 110, 0, 1}});
  const auto at = [&](double x, double y) { return boxes.box_of(steps_x(x), steps_y(y)); };
  EXPECT_EQ(at(6, 6), 0U);
  EXPECT_EQ(at(12, 12), 1U);
  EXPECT_EQ(at(105, -5), 2U);
  EXPECT_EQ(at(90, -5), 2U);
  EXPECT_EQ(at(-170, 0), 0U);
}

}  // namespace
}  // namespace fused::ingest
