#include "table/thin_rows.hpp"

#include <gtest/gtest.h>

#include <random>

namespace fused {
namespace {

Box around(double x, double y, double side) { return {x - side / 2, y - side / 2, x + side / 2, y + side / 2}; }

std::size_t count(const std::vector<Thinner::Chosen>& chosen) {
  std::size_t rows = 0;
  for (const auto& part : chosen) rows += part.rows.size();
  return rows;
}

TEST(ThinRows, of_small_rows_one_stands_for_its_cell_and_it_is_the_largest) {
  Thinner thinner({.view = {0, 0, 10, 10}, .cells = 10});
  thinner.add(0, 0, around(0.5, 0.5, 0.1));
  thinner.add(0, 1, around(0.6, 0.4, 0.3));
  thinner.add(1, 7, around(0.4, 0.6, 0.3));  // a tie: the first stays
  thinner.add(1, 8, around(1.5, 0.5, 0.0));  // a point in the next cell
  const auto chosen = thinner.take();
  ASSERT_EQ(chosen.size(), 2U);
  EXPECT_EQ(chosen[0].rows, std::vector<std::int64_t>{1});
  EXPECT_EQ(chosen[1].rows, std::vector<std::int64_t>{8});
}

TEST(ThinRows, large_rows_are_all_taken_up_to_the_limit_largest_first) {
  Thinner thinner({.view = {0, 0, 10, 10}, .cells = 10, .large_max = 20});
  for (std::int64_t row = 0; row < 500; ++row) thinner.add(0, row, around(5, 5, 1.0 + static_cast<double>(row % 250)));
  const auto chosen = thinner.take();
  ASSERT_EQ(count(chosen), 20U);
  for (const std::int64_t row : chosen[0].rows) EXPECT_GE(row % 250, 240);
}

TEST(ThinRows, what_lies_outside_or_is_no_box_is_passed_over) {
  Thinner thinner({.view = {0, 0, 10, 10}, .cells = 10});
  thinner.add(0, 0, around(-5, 5, 1));
  thinner.add(0, 1, {std::nan(""), std::nan(""), std::nan(""), std::nan("")});
  thinner.add(0, 2, around(10, 10, 0));  // the edge belongs to it
  const auto chosen = thinner.take();
  ASSERT_EQ(count(chosen), 1U);
  EXPECT_EQ(chosen[0].rows[0], 2);
}

TEST(ThinRows, however_many_rows_the_picture_is_bounded_and_the_same) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> at(0, 10);
  Thinner one({.view = {0, 0, 10, 10}, .cells = 16}), two({.view = {0, 0, 10, 10}, .cells = 16});
  for (std::int64_t row = 0; row < 50'000; ++row) {
    const Box box = around(at(random), at(random), 0.01);
    one.add(static_cast<std::uint32_t>(row / 1000), row % 1000, box);
    two.add(static_cast<std::uint32_t>(row / 1000), row % 1000, box);
  }
  const auto first = one.take(), second = two.take();
  EXPECT_EQ(count(first), 256U);
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i].rows, second[i].rows);
}

}  // namespace
}  // namespace fused
