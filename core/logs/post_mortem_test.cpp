#include "logs/post_mortem.hpp"

#include <gtest/gtest.h>

#include <csignal>

#include "base/text.hpp"

namespace fused {

CapturedStream stream(std::string_view text) {
  CapturedStream made(8 << 20);
  made.feed(text);
  return made;
}

TEST(PostMortem, OfARunThatWasKilledNamesLimitSignalMemoryAndLastLine) {
  PostMortem end;
  end.outcome = "out_of_memory";
  end.limit = "memory of 4 GiB";
  end.signal = SIGKILL;
  end.peak_memory_bytes = 4LL << 30;
  end.execution_time_seconds = 1.5;
  end.last_line = "File \"udf.py\", line 7, in udf";
  EXPECT_EQ(failure_stderr(stream("step 1\nstep 2\n"), stream("warned\n"), end),
            "warned\n"
            "\n"
            "--- how this run ended ---\n"
            "outcome: out_of_memory\n"
            "limit: memory of 4 GiB\n"
            "signal: SIGKILL (9)\n"
            "peak memory: 4096.0 MiB (4,294,967,296 bytes)\n"
            "ran for: 1.500 s\n"
            "last Python line: File \"udf.py\", line 7, in udf\n"
            "output: 14 bytes were printed, see stdout.log; the last line: step 2\n");
}

TEST(PostMortem, OfAnExceptionHoldsStderrThenTracebackThenTheEnd) {
  PostMortem end;
  end.outcome = "user_error";
  end.error_class = "ValueError";
  end.error_message = "bad n";
  end.traceback = "Traceback (most recent call last):\n  File \"udf.py\", line 2, in udf\nValueError: bad n\n";
  const std::string text = failure_stderr(stream(""), stream("no newline"), end);
  EXPECT_TRUE(text.starts_with("no newline\n\nTraceback")) << text;
  EXPECT_NE(text.find("\n\n--- how this run ended ---\noutcome: user_error\nerror: ValueError: bad n\n"),
            std::string::npos);
  EXPECT_TRUE(text.ends_with("output: stdout.log is empty\n"));
  const std::string once = failure_stderr(stream(""), stream(end.traceback), end);
  EXPECT_EQ(once.find("Traceback"), once.rfind("Traceback"));
}

TEST(PostMortem, IsNeverEmptyAndAlwaysUtf8) {
  PostMortem end;
  end.error_message = "\xff";
  const std::string text = failure_stderr(stream(std::string(100'000, '\xf0')), stream(""), end);
  EXPECT_NE(text, "");
  EXPECT_TRUE(is_utf8(text));
  EXPECT_LT(text.size(), 3'000u);
}

TEST(PostMortem, NamesSignals) {
  EXPECT_EQ(signal_name(SIGSEGV), "SIGSEGV (11)");
  EXPECT_EQ(signal_name(999), "signal (999)");
}

}  // namespace fused
