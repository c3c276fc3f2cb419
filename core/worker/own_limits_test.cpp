#include "worker/own_limits.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace fused {
namespace {

OwnLimits asked(std::string_view json) {
  return own_limits(RunLimits{}, boost::json::parse({json.data(), json.size()}).as_object());
}

TEST(OwnLimits, WhatIsLowerIsInForceAndTheRestIsTheServers) {
  const auto own = asked(R"({"wall_seconds":0.25,"memory_bytes":1000,"files_made":3,"result_bytes":536870912})");
  EXPECT_EQ(own.limits.wall_ms, 250);
  EXPECT_EQ(own.limits.memory_bytes, 1'000);
  EXPECT_EQ(own.limits.files_made, 3);
  EXPECT_EQ(own.limits.processes, RunLimits{}.processes);
  EXPECT_EQ(own.note, "");
}

TEST(OwnLimits, WhatIsHigherIsLoweredAndSaid) {
  const auto own = asked(R"({"wall_seconds":600,"processes":1e300,"descriptors":5})");
  EXPECT_EQ(own.limits.wall_ms, 120'000);
  EXPECT_EQ(own.limits.processes, 512);
  EXPECT_EQ(own.limits.descriptors, 5);
  EXPECT_NE(own.note.find("wall_seconds of 600 is above this server's, which holds: 120"), std::string::npos)
      << own.note;
  EXPECT_NE(own.note.find("processes"), std::string::npos);
}

TEST(OwnLimits, WhatTheSdkWouldNotSendRaisesNothing) {
  const auto own = asked(R"({"wall_seconds":"9","memory_bytes":-1,"files_made":0,"stream_bytes":null,"x":1})");
  EXPECT_EQ(own.limits.wall_ms, 120'000);
  EXPECT_EQ(own.limits.memory_bytes, RunLimits{}.memory_bytes);
  EXPECT_EQ(own.limits.files_made, RunLimits{}.files_made);
  EXPECT_EQ(own.note, "");
}

}  // namespace
}  // namespace fused
