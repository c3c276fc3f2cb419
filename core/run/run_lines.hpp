// The lines of a run, in the order in which they came, for those who follow it (docs/decisions/0012). Both streams
// together are kept up to a number of bytes: the first half and the last. One thread.
#pragma once
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <deque>
#include <list>
#include <string>
#include <string_view>
#include <vector>

#include "logs/line_cutter.hpp"

namespace fused {

struct RunLine {
  std::int64_t timestamp_ms = 0;  // never less than that of the line before
  int stream = 1;                 // 1: stdout, 2: stderr
  std::string text;
};

class RunLines {
 public:
  explicit RunLines(std::int64_t bytes_max) : bytes_max_(bytes_max) {}

  void feed(int stream, std::string_view bytes, std::int64_t now_ms);
  void end(std::int64_t now_ms);       // what is left of last lines
  void lower(std::int64_t bytes_max);  // keep no more than this
  std::uint64_t total() const { return total_; }
  std::int64_t bytes() const { return head_bytes_ + tail_bytes_; }
  std::string_view part(int stream) const { return (stream == 1 ? out_ : err_).part(); }

  struct Part {
    struct Numbered {
      std::uint64_t number = 0;       // of lines up to this one: whoever goes on behind it names this
      const RunLine* line = nullptr;  // until the next line comes
    };
    std::vector<Numbered> lines;
    std::uint64_t next = 0;      // go on from here
    std::uint64_t left_out = 0;  // lines before `lines` that are not kept any more
  };
  // Lines behind the first `from`, at most about `bytes_max` and `lines_max`. A gap ends a part.
  Part read(std::uint64_t from, std::size_t bytes_max, std::size_t lines_max) const;
  std::uint64_t number_since(std::int64_t since_ms) const;  // how many lines are older

  // Cancelled when there is another line. Whoever waits takes it out again.
  std::list<boost::asio::steady_timer*> waiters;

 private:
  void add(RunLine line);

  std::int64_t bytes_max_;
  LineCutter out_, err_;
  std::deque<RunLine> head_, tail_;
  std::int64_t head_bytes_ = 0, tail_bytes_ = 0;
  bool head_is_full_ = false;
  std::uint64_t total_ = 0;
  std::int64_t last_ms_ = 0;
};

// {"timestamp", "stream", "message"}, as in the log of a job.
std::string json_of(const RunLine& line);

}  // namespace fused
