#include "base/child_process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace fused {
namespace {

// What a shell says of itself, through the descriptor that it was given as 3.
std::string said_by(const std::string& script) {
  int pipe[2];
  EXPECT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const auto pid = start_child({"/bin/sh", {"-c", script}, {"GIVEN=yes"}, {{pipe[1], 3}}});
  ::close(pipe[1]);
  EXPECT_TRUE(pid.has_value());
  std::string said(4096, '\0');
  const ssize_t count = ::read(pipe[0], said.data(), said.size());
  ::close(pipe[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(pid.value_or(-1), &status, 0), pid.value_or(-1));
  said.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return said;
}

TEST(ChildProcess, HasWhatItIsGivenAndNothingElse) {
  ::setenv("NOT_GIVEN", "secret", 1);
  EXPECT_EQ(said_by("read x; echo \"$GIVEN $NOT_GIVEN $x\" >&3"), "yes  \n");
  EXPECT_EQ(said_by("kill -0 -$$ && echo own >&3"), "own\n");
}

TEST(ChildProcess, HasTheSignalsOfAFreshProcess) {
  const auto before = std::signal(SIGTERM, SIG_IGN);
  EXPECT_EQ(said_by("echo begun >&3; kill -TERM $$; echo ignored >&3"), "begun\n");
  std::signal(SIGTERM, before);
}

TEST(ChildProcess, WhatCannotBeStartedIsNamed) {
  const auto pid = start_child({"/nowhere/program", {}, {}, {}});
  ASSERT_FALSE(pid);
  EXPECT_EQ(pid.error().kind, ErrorKind::unavailable);
  EXPECT_NE(pid.error().message.find("cannot start '/nowhere/program': No such file"), std::string::npos);
}

}  // namespace
}  // namespace fused
