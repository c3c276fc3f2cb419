#include "logs/streams.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "base/text.hpp"

namespace fused {

using Order = std::vector<std::pair<int, std::uint64_t>>;

TEST(CapturedStream, GivesBackWhatWasFedWhileItIsWithinItsBound) {
  CapturedStream stream(100);
  stream.feed("one\n");
  stream.feed("two");
  EXPECT_EQ(stream.render(), "one\ntwo");
  EXPECT_EQ(stream.cut_bytes(), 0u);
}

TEST(CapturedStream, KeepsHeadAndTailAndSaysHowMuchIsCut) {
  for (const std::size_t piece : {1u, 3u, 7u, 64u, 1'000u}) {
    std::string all;
    for (int line = 0; line < 200; ++line) all += std::to_string(1'000 + line) + "\n";
    CapturedStream stream(20);
    for (std::size_t at = 0; at < all.size(); at += piece) stream.feed(std::string_view(all).substr(at, piece));
    EXPECT_EQ(stream.render(), "1000\n1001\n[… 980 bytes cut: 20 are kept …]\n1198\n1199\n") << piece;
    EXPECT_EQ(stream.total_bytes(), 1'000u);
  }
}

TEST(CapturedStream, IsWholeAtExactlyItsBoundAndForOddBounds) {
  for (int bound = 2; bound < 40; ++bound) {
    CapturedStream stream(bound);
    const std::string exact(static_cast<std::size_t>(bound), 'x');
    stream.feed(exact);
    EXPECT_EQ(stream.render(), exact);
    stream.feed("y");
    EXPECT_EQ(stream.cut_bytes(), 1u);
    EXPECT_TRUE(stream.render().ends_with("y"));
    EXPECT_NE(stream.render().find("1 bytes cut"), std::string::npos);
  }
}

TEST(CapturedStream, TakesAGibibyteInTheMemoryOfItsBound) {
  CapturedStream stream(8 << 20);
  const std::string piece(1 << 20, 'x');
  for (int count = 0; count < 1'024; ++count) stream.feed(piece);
  EXPECT_EQ(stream.total_bytes(), 1ull << 30);
  EXPECT_LT(stream.render().size(), (8u << 20) + 200);
}

TEST(CapturedStream, IsAlwaysUtf8AndNeverShowsHalfACharacterAtTheCut) {
  CapturedStream broken(100);
  broken.feed("a\xff\xfe z\xC3");
  EXPECT_TRUE(is_utf8(broken.render()));
  EXPECT_TRUE(broken.render().starts_with("a\xEF\xBF\xBD"));
  std::string text;
  for (int count = 0; count < 100; ++count) text += "a😀";
  for (int bound = 2; bound < 30; ++bound) {
    CapturedStream stream(bound);
    stream.feed(text);
    EXPECT_TRUE(is_utf8(stream.render())) << bound;
    EXPECT_EQ(stream.render().find("\xEF\xBF\xBD"), std::string::npos) << bound;
  }
}

TEST(CapturedStream, KeepsTerminalSequencesAsTheyAre) {
  CapturedStream stream(100);
  stream.feed("\x1b[31mred\x1b[0m\r\n");
  EXPECT_EQ(stream.render(), "\x1b[31mred\x1b[0m\r\n") << "nothing is escaped in the files";
}

std::string merged(std::string_view out, std::string_view err, const Order& order) {
  CapturedStream first(1'000), second(1'000);
  first.feed(out);
  second.feed(err);
  return merge_streams(first, second, order);
}

TEST(MergeStreams, LeavesOutputWithoutErrorsAlone) {
  EXPECT_EQ(merged("a\nb", "", {{1, 2}, {1, 1}}), "a\nb");
  EXPECT_EQ(merged("", "", {}), "");
}

TEST(MergeStreams, PutsMarkedErrorsInTheirPlace) {
  EXPECT_EQ(merged("one\nthree\n", "two\n", {{1, 4}, {2, 4}, {1, 6}}), "one\n[stderr] two\nthree\n");
  EXPECT_EQ(merged("one\nthree\n", "2a\n2b\n", {{1, 4}, {2, 3}, {2, 3}, {1, 6}}),
            "one\n[stderr] 2a\n[stderr] 2b\nthree\n");
}

TEST(MergeStreams, BeginsEachErrorOnALineOfItsOwn) {
  EXPECT_EQ(merged("onethree", "two", {{1, 3}, {2, 3}, {1, 5}}), "one\n[stderr] two\nthree");
  EXPECT_EQ(merged("ab", "xyz", {{2, 1}, {2, 1}, {1, 1}, {2, 1}, {1, 1}}), "[stderr] xy\na\n[stderr] z\nb");
}

TEST(MergeStreams, AppendsWhatTheOrderDoesNotCoverAndIgnoresWhatItInvents) {
  EXPECT_EQ(merged("one\ntwo\n", "bad\n", {{1, 4}}), "one\ntwo\n[stderr] bad\n");
  EXPECT_EQ(merged("one\n", "bad\n", {{2, 1'000}, {1, UINT64_MAX}, {7, 3}, {2, 5}, {1, 9}}), "[stderr] bad\none\n");
}

TEST(MergeStreams, JoinsACharacterThatWasWrittenInTwoParts) {
  EXPECT_EQ(merged("a😀b", "e\n", {{1, 3}, {1, 3}, {2, 2}}), "a😀b\n[stderr] e\n");
}

TEST(MergeStreams, SaysTheCutOnceWhateverTheOrder) {
  CapturedStream out(20), err(1'000);
  std::string all;
  for (int line = 0; line < 100; ++line) all += std::to_string(100 + line) + "\n";
  out.feed(all);
  err.feed("warned\n");
  Order order;
  for (int part = 0; part < 50; ++part) order.emplace_back(1, 4);
  order.emplace_back(2, 7);
  const std::string text = merge_streams(out, err, order);
  EXPECT_EQ(text, "100\n101\n10\n[… 380 bytes cut: 20 are kept …]\n[stderr] warned\n7\n198\n199\n");
}

TEST(KeepEnds, CutsOnlyWhatIsTooLong) {
  EXPECT_EQ(keep_ends("short", 10), "short");
  EXPECT_EQ(keep_ends("0123456789", 4), "01\n[… 6 bytes cut: 4 are kept …]\n89");
}

TEST(CapturedStream, LoweredItKeepsWhatItWouldHaveKept) {
  for (const std::size_t before : {0u, 3u, 10u, 17u, 40u}) {
    for (const std::size_t after : {0u, 5u, 60u}) {
      std::string text;
      for (std::size_t i = 0; i < before + after; ++i) text += static_cast<char>('a' + i % 26);
      CapturedStream lowered(20), low(8);
      lowered.feed(std::string_view(text).substr(0, before));
      lowered.lower(8);
      lowered.feed(std::string_view(text).substr(before));
      low.feed(text);
      EXPECT_EQ(lowered.render(), low.render()) << before << " " << after;
      EXPECT_EQ(lowered.cut_bytes(), low.cut_bytes());
    }
  }
}

TEST(CapturedStream, NothingRaisesIt) {
  CapturedStream stream(4);
  stream.lower(100);
  stream.feed("0123456789");
  EXPECT_EQ(stream.cut_bytes(), 6u);
}

}  // namespace fused
