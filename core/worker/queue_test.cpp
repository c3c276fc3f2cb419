// How long a queue is, and for whom (docs/decisions/0002-runs.md).
#include "worker/queue.hpp"

#include <gtest/gtest.h>

#include <deque>

namespace fused {
namespace {

using namespace std::chrono_literals;

struct Line {
  RunQueue queue{100, 16};
  std::deque<Waiting> waiting;
  SteadyTime now{};

  bool come(const std::string& caller) {
    if (!queue.admits(caller, now)) return false;
    queue.push(waiting.emplace_back(caller, false));
    return true;
  }
  int come(const std::string& caller, int times) {
    int admitted = 0;
    for (int i = 0; i < times; ++i) admitted += come(caller);
    return admitted;
  }
};

TEST(RunQueue, ABatchOfSlowRunsOfOneMapIsAdmittedWhole) {
  Line line;
  EXPECT_EQ(line.come("map", 64), 64);
  line.now += 10min;
  line.queue.pop(false);
  EXPECT_TRUE(line.come("map")) << "they may be slow: that is no overload";
}

TEST(RunQueue, WhatComesLastinglyFasterThanItIsDoneWaitsInAShortLine) {
  Line line;
  EXPECT_EQ(line.come("a", 200), 100);
  for (int i = 0; i < 90; ++i) line.queue.pop(false);
  EXPECT_EQ(line.come("a", 200), 6) << "16 in all";
  for (int second = 0; second < 5; ++second) {
    line.now += 900ms;
    EXPECT_EQ(line.come("a", 50), 0);
  }
  line.now += 1s;
  EXPECT_EQ(line.come("a", 200), 84) << "a second without a refusal: calm again";
}

TEST(RunQueue, WhoHasNothingWaitingIsNotRefusedForAnothersFlood) {
  Line line;
  line.come("flood", 200);
  for (int i = 0; i < 84; ++i) line.queue.pop(false);
  EXPECT_FALSE(line.come("flood"));
  EXPECT_TRUE(line.come("other"));
  EXPECT_FALSE(line.come("other")) << "one of each, while it lasts";
  int admitted = 0;
  for (int i = 0; i < 40; ++i) admitted += line.come("visitor " + std::to_string(i));
  EXPECT_EQ(admitted, 15) << "32 in all: a flood of many callers is a flood";
}

TEST(RunQueue, AQueueThatIsSetShorterStaysSo) {
  RunQueue queue(2, 16);
  Waiting a{"a", false, {}}, b{"b", false, {}};
  EXPECT_TRUE(queue.admits("a", {}));
  queue.push(a);
  EXPECT_TRUE(queue.admits("b", {}));
  queue.push(b);
  EXPECT_FALSE(queue.admits("c", {}));
  EXPECT_FALSE(queue.admits("c", {}));
}

}  // namespace
}  // namespace fused
