// One group of calls while a worker has it: memory that both share, what has ended, what can still be taken back.
// Nothing that a worker writes is believed before it was looked at.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "batch/call_arguments.hpp"
#include "batch/call_record.hpp"
#include "run/run_service.hpp"
#include "storage/file_descriptor.hpp"
#include "worker/call_group.hpp"

namespace fused {

// Calls of one piece that follow each other.
struct CallRange {
  std::shared_ptr<const ArgumentPiece> piece;
  std::uint32_t position = 0;  // in the piece
  std::uint32_t index = 0;     // of the first, in the batch
  std::uint32_t count = 0;

  CallRange part(std::uint32_t from, std::uint32_t number) const {
    return {piece, position + from, index + from, number};
  }
};

class Group : public CallGroup {
 public:
  // `fill`: called when a worker was chosen; gives the calls.
  using Fill = std::function<std::vector<CallRange>()>;
  using Take = std::function<void(const CallRange& call, const EndedHead& head, std::string_view record)>;
  static Result<std::shared_ptr<Group>> open(Fill fill, std::int64_t result_bytes_max);

  Given give() override;
  SteadyTime running_since() override;
  void ending() override;

  // Reads the records that are whole by now, each once. Error: what the worker wrote is none.
  Status collect(const Take& take);
  // Instead, where what has ended cannot be taken now: no call grows older meanwhile.
  void put_off() { collected_at_ = std::chrono::steady_clock::now(); }
  // The calls that had not begun, which never will here; they are kept until `returned`.
  void take_back();
  std::vector<CallRange> returned() { return std::exchange(returned_, {}); }
  // Gives the memory of what was read, or nobody will see, back to the system.
  void trim();

  bool was_given() const { return given_at_ != SteadyTime{}; }
  SteadyTime given_at() const { return given_at_; }
  std::size_t calls() const { return calls_; }  // less those that were taken back
  std::size_t ended() const { return ended_; }
  bool has_unfinished() const { return ended_ < calls_; }
  CallRange next() const;  // the call that has not ended first: the one that runs, if one does
  // [first, number] of the calls that have not ended.
  std::vector<CallRange> unfinished() const;
  // The streams of the call that runs, cut as a worker cuts them, and when it began.
  struct Cut {
    std::string out, err;
    std::string last_lines;  // where it was when it was ended, as its process said
    double seconds = 0;
  };
  Cut cut_running() const;

  std::shared_ptr<RunTicket> ticket = std::make_shared<RunTicket>();

 private:
  struct Progress {
    double began = 0;
    std::int64_t out_at = 0, err_at = 0;
  };
  Progress progress() const;
  Status collect_records(const Take& take);

  Fill fill_;
  std::int64_t record_bytes_max_ = 0;
  FileDescriptor out_, err_, records_, progress_, tokens_;
  std::vector<CallRange> parts_;  // as given, less what was taken back
  std::vector<CallRange> returned_;
  std::size_t calls_ = 0, ended_ = 0;
  std::size_t part_ = 0;  // of the call that ends next
  std::uint32_t part_offset_ = 0;
  std::int64_t read_at_ = 0, trimmed_ = 0;
  SteadyTime given_at_{};
  SteadyTime collected_at_{};  // when the end of a call was last seen, else as given_at_
  std::string buffer_;
  std::int64_t err_end_ = -1;  // of its stderr when it was about to be ended
};

}  // namespace fused
