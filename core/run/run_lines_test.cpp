#include "run/run_lines.hpp"

#include <gtest/gtest.h>

namespace fused {
namespace {

std::vector<std::string> texts(const RunLines::Part& part) {
  std::vector<std::string> all;
  for (const auto& [number, line] : part.lines) all.push_back(line->text);
  return all;
}

constexpr std::size_t kMany = 1 << 20;

}  // namespace

TEST(RunLines, BothStreamsInTheOrderInWhichTheyCameAndATornLineAtTheEnd) {
  RunLines lines(1 << 20);
  lines.feed(1, "a\nb", 5);
  lines.feed(2, "err\n", 6);
  lines.feed(1, "c\nlast", 4);  // the clock jumped back
  EXPECT_EQ(texts(lines.read(0, kMany, kMany)), (std::vector<std::string>{"a", "err", "bc"}));
  EXPECT_EQ(lines.part(1), "last");
  lines.end(7);
  const auto part = lines.read(2, kMany, kMany);
  EXPECT_EQ(texts(part), (std::vector<std::string>{"bc", "last"}));
  EXPECT_EQ(part.lines[0].line->timestamp_ms, 6);
  EXPECT_EQ(part.next, 4u);
  EXPECT_EQ(json_of(*part.lines[1].line), R"({"timestamp":7,"stream":"stdout","message":"last"})");
}

TEST(RunLines, ThePartsOfAReaderAreTheWhole) {
  RunLines lines(1 << 20);
  for (int i = 0; i < 100; ++i) lines.feed(1, std::to_string(i) + "\n", i);
  std::vector<std::string> all;
  for (std::uint64_t from = 0; from < lines.total();) {
    const auto part = lines.read(from, 300, 3);
    ASSERT_LE(part.lines.size(), 3u);
    ASSERT_EQ(part.left_out, 0u);
    for (const auto& text : texts(part)) all.push_back(text);
    from = part.next;
  }
  ASSERT_EQ(all.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)], std::to_string(i));
  EXPECT_EQ(lines.number_since(40), 40u);
  EXPECT_EQ(lines.number_since(1'000), 100u);
  EXPECT_TRUE(lines.read(1'000, kMany, kMany).lines.empty());
}

TEST(RunLines, KeepsTheFirstAndTheLastAndSaysHowManyAreGone) {
  RunLines lines(10'000);
  for (int i = 0; i < 5'000; ++i) lines.feed(1, "line " + std::to_string(i) + "\n", i);
  EXPECT_LE(lines.bytes(), 10'000);
  std::uint64_t seen = 0, left_out = 0, from = 0;
  std::string first, last;
  while (from < lines.total()) {
    const auto part = lines.read(from, 1'000, kMany);
    ASSERT_GT(part.next, from);
    if (first.empty()) first = part.lines.front().line->text;
    last = part.lines.back().line->text;
    seen += part.lines.size();
    left_out += part.left_out;
    from = part.next;
  }
  EXPECT_EQ(first, "line 0");
  EXPECT_EQ(last, "line 4999");
  EXPECT_EQ(seen + left_out, 5'000u);
  EXPECT_GT(left_out, 4'000u);
  // Numbers count all lines, also those that are gone.
  EXPECT_EQ(lines.read(4'999, kMany, kMany).lines.at(0).number, 5'000u);
}

TEST(RunLines, LessMayBeKeptLater) {
  RunLines lines(1 << 20);
  for (int i = 0; i < 1'000; ++i) lines.feed(2, "line " + std::to_string(i) + "\n", i);
  lines.lower(2'000);
  lines.feed(2, "another\n", 2'000);
  EXPECT_LE(lines.bytes(), 2'000);
  const auto head = lines.read(0, kMany, kMany);
  EXPECT_EQ(head.lines.front().line->text, "line 0");
  const auto tail = lines.read(head.next, kMany, kMany);
  EXPECT_EQ(tail.lines.back().line->text, "another");
  EXPECT_EQ(head.lines.size() + tail.left_out + tail.lines.size(), 1'001u);
}

}  // namespace fused
