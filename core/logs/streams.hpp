// What a run wrote, kept within bounds and made into stdout.log and stderr.log. Nothing is escaped in these files: they
// are the bytes of the run as UTF-8, where what is no UTF-8 has become U+FFFD.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace fused {

// Keeps the first and the last half of what is fed to it, together at most `bytes_max`. Used on one thread.
class CapturedStream {
 public:
  explicit CapturedStream(std::int64_t bytes_max);

  void feed(std::string_view bytes);
  void lower(std::int64_t bytes_max);                   // keep no more than this; what is kept beyond it is cut
  std::uint64_t total_bytes() const { return total_; }  // fed so far
  std::uint64_t cut_bytes() const;                      // of them no longer here

  // Everything kept. Where bytes were cut stands a line of its own: "[… 1,234 bytes cut: 8,388,608 are kept …]".
  std::string render() const;
  // What is kept of the bytes [from, to) of all that was fed, with the line of the cut where it falls into them.
  std::string render(std::uint64_t from, std::uint64_t to) const;

 private:
  std::string tail_between(std::uint64_t from, std::uint64_t to) const;

  std::uint64_t head_max_, tail_max_;
  std::string head_;
  std::string tail_;  // a ring once it is full
  std::size_t tail_begin_ = 0;
  std::uint64_t total_ = 0;
};

// At most about `bytes_max` bytes of `text`: its beginning and end, with the line of the cut between.
std::string keep_ends(std::string_view text, std::size_t bytes_max);

// Parts of the two streams in the order they were written: {1, n} for n bytes of stdout, {2, n} of stderr.
using StreamOrder = std::span<const std::pair<int, std::uint64_t>>;

// stdout.log of a run that succeeded (the seed: a non-empty stderr.log means an error). With an empty stderr it is
// stdout as it is. Otherwise stderr's parts stand in their place, each beginning on its own line and each line of them
// marked
// "[stderr] ". What the order does not cover is appended, stdout first.
std::string merge_streams(const CapturedStream& out, const CapturedStream& err, StreamOrder order);

}  // namespace fused
