#include "worker/frames.hpp"

#include <gtest/gtest.h>

#include "worker/queue.hpp"

namespace fused {

TEST(Frames, HeadIsReadAsItWasWritten) {
  const FrameHead head{FrameKind::result, kFrameBodyInMemfd, 17, 4'000'000'000u, 0x0102030405060708u};
  const std::string bytes = encode_frame_head(head);
  ASSERT_EQ(bytes.size(), kFrameHeadBytes);
  const auto read = decode_frame_head(bytes, head.nonce);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->kind, FrameKind::result);
  EXPECT_EQ(read->flags, kFrameBodyInMemfd);
  EXPECT_EQ(read->header_length, 17u);
  EXPECT_EQ(read->body_length, 4'000'000'000u);
}

TEST(Frames, RefusesWhatOurCodeDidNotWrite) {
  const std::string good = encode_frame_head({FrameKind::idle, 0, 2, 0, 42});
  EXPECT_FALSE(decode_frame_head(good, 43));
  for (const std::size_t at : {0u, 4u, 5u}) {
    std::string bad = good;
    bad[at] = '\x63';
    EXPECT_FALSE(decode_frame_head(bad, 42)) << at;
  }
  EXPECT_FALSE(decode_frame_head(good.substr(1), 42));
  EXPECT_FALSE(decode_frame_head(encode_frame_head({FrameKind::idle, 0, kFrameHeaderBytesMax + 1, 0, 42}), 42));
}

TEST(RunQueue, CallersTakeTurnsAndNestedRunsGoFirst) {
  RunQueue queue(10);
  Waiting a1{"a", false, {}}, a2{"a", false, {}}, b1{"b", false, {}}, n{"a", true, {}};
  for (auto* w : {&a1, &a2, &b1, &n}) queue.push(*w);
  EXPECT_EQ(queue.length(), 4u);
  EXPECT_EQ(queue.pop(false), &n);
  EXPECT_EQ(queue.pop(true), nullptr);
  EXPECT_EQ(queue.pop(false), &a1);
  EXPECT_EQ(queue.pop(false), &b1);
  EXPECT_EQ(queue.pop(false), &a2);
  EXPECT_EQ(queue.pop(false), nullptr);
}

TEST(RunQueue, IsFullAtItsLengthAndForgetsWhatIsRemoved) {
  RunQueue queue(2);
  Waiting a{"a", false, {}}, b{"a", false, {}};
  queue.push(a);
  queue.push(b);
  EXPECT_TRUE(queue.is_full());
  queue.remove(a);
  EXPECT_FALSE(queue.is_full());
  EXPECT_EQ(queue.pop(false), &b);
  EXPECT_EQ(queue.length(), 0u);
}

}  // namespace fused
