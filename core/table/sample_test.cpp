#include "table/sample.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace fused {
namespace {

std::vector<ChunkRow> some_rows(int count) {
  std::vector<ChunkRow> rows;
  for (int i = 0; i < count; ++i)
    rows.push_back({"f" + std::to_string(i / 10), i % 10, {i * 1e-3, 1, i * 1e-3 + 1, 2}, 0.5, 1.5, 40, 10});
  return rows;
}

TEST(Sample, rows_come_back_as_they_were_written) {
  for (const int count : {0, 1, 1000}) {
    const auto rows = some_rows(count);
    const auto bytes = sample_bytes(rows);
    ASSERT_TRUE(bytes) << bytes.error().message;
    const auto read = parse_sample(*bytes);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, rows);
    EXPECT_EQ(*sample_bytes(rows), *bytes);
  }
}

TEST(Sample, a_chunk_without_geometry_has_a_box_of_nan) {
  auto rows = some_rows(2);
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  rows[1].box = {kNan, kNan, kNan, kNan};
  const auto read = parse_sample(*sample_bytes(rows));
  ASSERT_TRUE(read);
  EXPECT_TRUE(std::isnan((*read)[1].box.minx));
}

TEST(Sample, rows_that_no_reader_could_use_are_refused_by_name) {
  const auto refused = [](auto&& change) {
    auto rows = some_rows(2);
    change(rows[1]);
    const auto bytes = sample_bytes(rows);
    return bytes ? std::string("accepted") : bytes.error().message;
  };
  EXPECT_NE(refused([](ChunkRow& row) { row.file_id = "../etc"; }).find("plain file name"), std::string::npos);
  EXPECT_NE(refused([](ChunkRow& row) { row.chunk_id = -1; }).find("chunk ids"), std::string::npos);
  EXPECT_NE(refused([](ChunkRow& row) { row.chunk_id = 0; }).find("twice"), std::string::npos);
  EXPECT_NE(refused([](ChunkRow& row) { row.box.minx = 1e9; }).find("not a box"), std::string::npos);
  EXPECT_NE(refused([](ChunkRow& row) { row.box.minx = std::nan(""); }).find("not a box"), std::string::npos);
  EXPECT_NE(refused([](ChunkRow& row) { row.num_rows = -7; }).find("negative"), std::string::npos);
}

TEST(Sample, every_truncation_is_an_error) {
  const std::string bytes = *sample_bytes(some_rows(50));
  for (std::size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 97)
    EXPECT_FALSE(parse_sample(std::string_view(bytes).substr(0, size))) << size;
}

TEST(Sample, flipped_bits_end_in_rows_or_an_error_never_in_a_crash) {
  const std::string bytes = *sample_bytes(some_rows(50));
  std::mt19937 random(7);
  int errors = 0;
  for (int i = 0; i < 400; ++i) {
    std::string broken = bytes;
    for (int k = 0; k < 3; ++k) broken[random() % broken.size()] ^= static_cast<char>(1u << (random() % 8));
    if (!parse_sample(broken)) ++errors;
  }
  EXPECT_GT(errors, 100);
}

TEST(Sample, another_file_is_refused_with_what_is_missing) {
  const auto text = parse_sample("id,name\n1,2\n");
  ASSERT_FALSE(text);
  EXPECT_NE(text.error().message.find("not a Parquet file"), std::string::npos) << text.error().message;
}

}  // namespace
}  // namespace fused
