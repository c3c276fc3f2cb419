#include "table/page_reader.hpp"

#include <gtest/gtest.h>

#include <random>

#include "table/made_table.hpp"

namespace fused {
namespace {

class PageReader : public testing::Test {
 protected:
  void SetUp() override {
    write_table(made_, folder_.path().string());
    const auto opened = ParquetFile::open(*locate(folder_.path().string()), "0.parquet");
    ASSERT_TRUE(opened) << opened.error().message;
    file_ = *opened;
  }
  std::vector<std::int64_t> ids(int group, const RowRanges& rows, std::vector<int> fields = {0, 1, 2, 3}) {
    const auto table = read_rows(*file_, group, rows, fields, arrow::default_memory_pool(), false);
    EXPECT_TRUE(table) << table.error().message;
    std::vector<std::int64_t> found;
    if (!table) return found;
    EXPECT_EQ((*table)->num_columns(), static_cast<int>(fields.size()));
    for (const auto& chunk : (*table)->GetColumnByName("id")->chunks())
      for (std::int64_t i = 0; i < chunk->length(); ++i)
        found.push_back(static_cast<const arrow::Int64Array&>(*chunk).Value(i));
    return found;
  }
  TestFolder folder_;
  MadeTable made_;
  std::shared_ptr<const ParquetFile> file_;
};

TEST(RowRanges, JoinWhatLiesShortlyApart) {
  EXPECT_EQ(ranges_of(std::vector<std::int64_t>{1, 2, 5, 90, 154, 155, 300}),
            (RowRanges{{1, 6}, {90, 156}, {300, 301}}));
  EXPECT_EQ(ranges_of(std::vector<std::int64_t>{0, 65, 131}), (RowRanges{{0, 66}, {131, 132}}));
  EXPECT_TRUE(ranges_of({}).empty());
}

TEST_F(PageReader, any_ranges_of_rows_are_exactly_those) {
  std::mt19937 random(1);
  for (int round = 0; round < 60; ++round) {
    RowRanges rows;
    std::vector<std::int64_t> wanted;
    for (std::int64_t at = static_cast<std::int64_t>(random() % 120); at < 400;) {
      const std::int64_t end = std::min<std::int64_t>(at + 1 + static_cast<std::int64_t>(random() % 90), 400);
      rows.push_back({at, end});
      for (std::int64_t row = at; row < end; ++row) wanted.push_back(400 * 2 + row);
      at = end + 1 + static_cast<std::int64_t>(random() % 150);
    }
    if (rows.empty()) continue;
    EXPECT_EQ(ids(2, rows), wanted);
    EXPECT_EQ(ids(2, rows, {0}), wanted);
  }
}

TEST_F(PageReader, a_whole_row_group_has_all_its_rows) {
  EXPECT_EQ(ids(0, {{0, 400}}).size(), 400U);
  EXPECT_EQ(ids(3, {{0, 400}}, {0, 2}).front(), 1200);
}

TEST_F(PageReader, pages_are_pruned_by_the_covering) {
  // Row group 0 has rows 0 … 9 of the grid, 40 points each; pages have 50 rows.
  const Box box{0.1, 0.045, 0.2, 0.055};  // grid row 5: rows 200 … 239
  const RowRanges near = rows_near(*file_, 0, {&box, 1});
  EXPECT_EQ(near, (RowRanges{{200, 250}}));
  const Box nowhere{5, 5, 6, 6};
  EXPECT_TRUE(rows_near(*file_, 0, {&nowhere, 1}).empty());
  const Box two[] = {{0, 0, 0.01, 0.001}, {0, 0.085, 0.3, 0.095}};
  EXPECT_EQ(count_rows(rows_near(*file_, 0, two)), 50 + 50);
}

TEST_F(PageReader, a_damaged_page_is_an_error_that_names_the_file) {
  const std::string path = folder_.path().string() + "/0.parquet";
  const auto index = file_->index(1);
  ASSERT_FALSE(index->leaves.empty());
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(index->leaves[0].offsets[2]);
  file << std::string(static_cast<std::size_t>(index->leaves[0].bytes[2]), '\xff');
  file.close();
  const auto opened = ParquetFile::open(*locate(folder_.path().string()), "0.parquet");
  ASSERT_TRUE(opened);
  const int fields[] = {0};
  const auto read = read_rows(**opened, 1, {{110, 120}}, fields, arrow::default_memory_pool(), false);
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().message.find("chunk 1 of 0.parquet"), std::string::npos) << read.error().message;
  EXPECT_TRUE(read_rows(**opened, 1, {{0, 40}}, fields, arrow::default_memory_pool(), false)) << "other pages are good";
}

TEST(RowRangesTest, intersections) {
  EXPECT_EQ(intersection({{0, 10}, {20, 30}}, {{5, 25}}), (RowRanges{{5, 10}, {20, 25}}));
  EXPECT_TRUE(intersection({{0, 10}}, {{10, 20}}).empty());
  EXPECT_EQ(count_rows({{0, 10}, {20, 21}}), 11);
  EXPECT_EQ(unite({{0, 10}, {30, 40}}, {{10, 20}, {35, 50}}), (RowRanges{{0, 20}, {30, 50}}));
}

}  // namespace
}  // namespace fused
