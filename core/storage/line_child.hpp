// A program beside the server that is asked by lines and answers each by a line. One thread uses it.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "storage/file_descriptor.hpp"

namespace fused {

class LineChild {
 public:
  // A program and its arguments; its standard input and output are ours.
  static Result<LineChild> start(const std::vector<std::string>& command, const std::vector<std::string>& environment);
  LineChild(LineChild&& other) noexcept;
  LineChild& operator=(LineChild&&) = delete;
  ~LineChild();  // killed, unless it was let go

  pid_t pid() const { return pid_; }
  // Its answer without the line's end; "" when it ended, or its line was not whole after so long: then it is killed, so
  // that a late answer is never taken for another's.
  std::string ask(const std::string& line, std::chrono::milliseconds patience);
  // There is no more to ask: it leaves by itself, and is killed where that takes longer.
  void let_go(std::chrono::milliseconds patience);

 private:
  LineChild(pid_t pid, FileDescriptor socket) : pid_(pid), socket_(std::move(socket)) {}
  bool send(std::string_view text);
  std::string next_line(std::chrono::steady_clock::time_point deadline);

  pid_t pid_ = 0;
  FileDescriptor socket_;
  std::string buffer_;
};

}  // namespace fused
