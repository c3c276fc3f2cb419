#include "batch/group.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

namespace fused {
namespace {

std::string ended(CallStatus status, const std::string& record) {
  std::string bytes(kEndedHeadBytes, '\0');
  const std::uint64_t size = record.size();
  const double started = 1.7e9, seconds = 0.5;
  std::memcpy(bytes.data(), &size, 8);
  bytes[8] = static_cast<char>(status);
  std::memcpy(bytes.data() + 9, &started, 8);
  std::memcpy(bytes.data() + 17, &seconds, 8);
  return bytes + record;
}

std::string value(std::string_view body) { return CallRecord{'w', "out", "", body}.bytes(); }

// A group of the calls 5 … 5 + n, and what a worker does with it.
struct Worker {
  explicit Worker(std::uint32_t calls) {
    std::string text = R"({"piece":0,"calls":[[5,)" + std::to_string(calls) + R"(]],"columns":{"n":[0)";
    for (std::uint32_t i = 1; i < calls; ++i) text += ',' + std::to_string(i);
    const auto owner = std::make_shared<const std::string>(text + "]}}");
    const auto piece = ArgumentPiece::read(owner, *owner).value();
    group = Group::open([piece, calls] { return std::vector{CallRange{piece, 0, 5, calls}}; }, 1 << 20).value();
    given = group->give();
  }
  void write(const std::string& bytes) {
    ASSERT_EQ(::write(given.descriptors[2], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  bool take_token() {
    std::uint64_t token = 0;
    return ::read(given.descriptors[4], &token, sizeof token) == sizeof token;
  }
  Status collect() {
    return group->collect([this](const CallRange& call, const EndedHead& head, std::string_view record) {
      found.emplace_back(call.index, head.status);
      last = std::string(CallRecord::of(record)->body);
    });
  }

  std::shared_ptr<Group> group;
  CallGroup::Given given;
  std::vector<std::pair<std::uint32_t, CallStatus>> found;
  std::string last;
};

TEST(Group, RecordsAreReadOnceEachAsTheyBecomeWhole) {
  Worker worker(3);
  EXPECT_EQ(worker.given.body, R"({"columns":{"n":[0,1,2]}})");
  const std::string first = ended(CallStatus::success, value("one")), second = ended(CallStatus::success, value("two"));
  worker.write(first + second.substr(0, 20));
  ASSERT_TRUE(worker.collect());
  EXPECT_EQ(worker.found.size(), 1U);
  worker.write(second.substr(20));
  ASSERT_TRUE(worker.collect());
  ASSERT_TRUE(worker.collect());
  ASSERT_EQ(worker.found.size(), 2U);
  EXPECT_EQ(worker.found[1].first, 6U);
  EXPECT_EQ(worker.last, "two");
  EXPECT_EQ(worker.group->next().index, 7U);
}

TEST(Group, ARecordLargerThanAReadArrivesWhole) {
  Worker worker(2);
  const std::string large((1 << 20) + (1 << 19), 'x');
  worker.write(ended(CallStatus::success, value(large)) + ended(CallStatus::success, value("small")));
  ASSERT_TRUE(worker.collect());
  EXPECT_EQ(worker.found.size(), 2U);
  EXPECT_EQ(worker.last, "small");
}

TEST(Group, WhatHasNotBegunIsTakenBackAndNothingElse) {
  Worker worker(10);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(worker.take_token());
  for (int i = 0; i < 3; ++i) worker.write(ended(CallStatus::success, value("v")));
  ASSERT_TRUE(worker.collect());
  worker.group->take_back();
  EXPECT_FALSE(worker.take_token());
  const auto back = worker.group->returned();
  ASSERT_EQ(back.size(), 1U);
  EXPECT_EQ(back[0].index, 9U);
  EXPECT_EQ(back[0].count, 6U);
  EXPECT_EQ(back[0].position, 4U);
  EXPECT_EQ(worker.group->calls(), 4U);
  ASSERT_TRUE(worker.group->has_unfinished());
  EXPECT_EQ(worker.group->next().index, 8U);
  worker.group->take_back();
  EXPECT_TRUE(worker.group->returned().empty());
}

TEST(Group, AWorkerThatAddsTokensOrWritesMoreThanItsCallsGainsNothing) {
  Worker worker(2);
  const std::uint64_t many = 1'000;
  ASSERT_EQ(::write(worker.given.descriptors[4], &many, sizeof many), static_cast<ssize_t>(sizeof many));
  worker.write(ended(CallStatus::success, value("1")) + ended(CallStatus::success, value("2")) +
               ended(CallStatus::success, value("3")));
  ASSERT_TRUE(worker.collect());
  EXPECT_EQ(worker.found.size(), 2U);
  worker.group->take_back();
  EXPECT_TRUE(worker.group->returned().empty());
}

TEST(Group, TokensWithoutEndOrADescriptionThatBlocksHoldNobodyUp) {
  Worker worker(3);
  const std::uint64_t many = std::uint64_t{1} << 62;
  ASSERT_EQ(::write(worker.given.descriptors[4], &many, sizeof many), static_cast<ssize_t>(sizeof many));
  worker.group->take_back();
  EXPECT_EQ(worker.group->calls(), 0U);

  Worker second(3);
  ASSERT_EQ(::fcntl(second.given.descriptors[4], F_SETFL, 0), 0);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(second.take_token());
  second.group->take_back();
  EXPECT_EQ(second.group->calls(), 3U);
}

TEST(Group, NoPageMakesACallYoungerThanTheEndBeforeIt) {
  Worker worker(2);
  const SteadyTime given = worker.group->running_since();
  const double soon = 1e9;
  ASSERT_EQ(::pwrite(worker.given.descriptors[3], &soon, sizeof soon, 0), 8);
  EXPECT_EQ(worker.group->running_since(), given);
  worker.write(ended(CallStatus::success, value("1")));
  ASSERT_TRUE(worker.collect());
  const SteadyTime second = worker.group->running_since();
  EXPECT_GT(second, given);
  const double none = 0;
  ASSERT_EQ(::pwrite(worker.given.descriptors[3], &none, sizeof none, 0), 8);
  EXPECT_EQ(worker.group->running_since(), second);
}

TEST(Group, WhatIsNoRecordIsRefused) {
  std::string too_long = ended(CallStatus::success, value("v"));
  too_long[6] = 1;  // 2^48 bytes
  std::string streams = value("v");
  streams[4] = 127;  // more stdout than there is record
  for (const std::string& bytes :
       {too_long, ended(CallStatus::success, ""), ended(CallStatus::success, streams),
        ended(CallStatus::cancelled, value("v")), ended(static_cast<CallStatus>(77), value("v")),
        ended(CallStatus::error, value("v")), ended(CallStatus::success, CallRecord{'e', "", "", "{}"}.bytes()),
        std::string(300, '\xff')}) {
    Worker worker(2);
    worker.write(bytes);
    EXPECT_FALSE(worker.collect());
    EXPECT_TRUE(worker.found.empty());
  }
}

TEST(Group, AProgressPageOfNonsenseIsNoTimeAndNoPlace) {
  Worker worker(1);
  const std::string nonsense(24, '\xff');
  ASSERT_EQ(::pwrite(worker.given.descriptors[3], nonsense.data(), nonsense.size(), 0), 24);
  EXPECT_LE(worker.group->running_since(), std::chrono::steady_clock::now());
  EXPECT_EQ(worker.group->cut_running().out, "");
  ASSERT_EQ(::ftruncate(worker.given.descriptors[3], 0), 0);
  worker.group->trim();
  EXPECT_EQ(worker.group->cut_running().seconds, 0);
}

}  // namespace
}  // namespace fused
