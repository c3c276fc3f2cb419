// One worker as the server sees it: its frames, its captured output, what it has compiled, and how it ended.
#pragma once
#include <sys/types.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/json/object.hpp>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>

#include "base/clock.hpp"
#include "base/completion.hpp"
#include "worker/frame_socket.hpp"
#include "worker/run_order.hpp"
#include "worker/zygote.hpp"

namespace fused {

enum class WorkerState { starting, blank, idle, busy, cleaning, dead };

struct WorkerEvents {
  std::function<void()> ready;                     // state is now blank
  std::function<void(std::string replace)> clean;  // an idle frame; "" or why it must be replaced
  std::function<void()> dead;
  std::function<void(const boost::json::object& asked)> limits = {};  // of the function that runs
};

// Lives in a shared_ptr: its coroutines hold it.
class WorkerProcess : public std::enable_shared_from_this<WorkerProcess> {
 public:
  WorkerProcess(boost::asio::io_context& io, int number, std::uint64_t nonce, std::int64_t body_bytes_max,
                WorkerEvents events);
  ~WorkerProcess();

  // Makes socket pair and pipes; returns the worker's three ends, to be handed to the zygote.
  struct Ends {
    int socket, out, err;
  };
  Result<Ends> open();

  // Runs one order to its end, whatever that is. State must be blank or idle. `others_wait`: for a worker; then it
  // looks whether it is clean before it replies, which costs this caller some 50 µs and the next one a wake-up less.
  boost::asio::awaitable<RunReply> run(const RunOrder& order, RunWatcher& watcher, bool others_wait);
  boost::asio::awaitable<Result<Frame>> describe(std::string header);

  void forked(pid_t pid);
  void exited(const WorkerExit& exit);
  // Ends the current run: asks the process where it is (its fault handler writes the Python lines of every thread to
  // stderr), then kills it.
  void end_run(RunEnd why, std::string message);
  // Ends it now, with everything it started; the current run ends with `why`.
  void kill(RunEnd why, std::string message);
  // The sandbox of one that was forked late; READY comes when it is in it.
  void enter(const boost::json::object& sandbox);
  void leave();  // asks an idle worker to end

  int number() const { return number_; }
  pid_t pid() const { return pid_; }
  bool is_ending() const { return killed_.has_value(); }
  WorkerState state() const { return state_; }
  void set_state(WorkerState state) { state_ = state; }
  const std::string& key() const { return key_; }
  void set_key(std::string key) { key_ = std::move(key); }
  int runs() const { return runs_; }
  const boost::json::object& report() const { return report_; }  // what READY said: isolation in force
  SteadyTime busy_since() const { return busy_since_; }

 private:
  boost::asio::awaitable<void> read_frames();
  boost::asio::awaitable<void> read_stream(int stream);
  void drain(int stream);
  void take_output(int stream, std::string_view bytes);
  void handle(Frame frame);
  void take_call(Frame frame);
  void finish(RunReply reply);
  void lost(const Error& error);
  void soon(void (*act)(WorkerProcess&));
  RunReply end_reply() const;

  boost::asio::io_context& io_;
  int number_;
  std::uint64_t nonce_;
  std::int64_t body_bytes_max_;
  WorkerEvents events_;
  std::unique_ptr<FrameSocket> socket_;
  std::unique_ptr<boost::asio::posix::stream_descriptor> streams_[2];
  pid_t pid_ = -1;
  WorkerState state_ = WorkerState::starting;
  std::string key_;
  std::unordered_set<std::string> known_functions_;
  boost::json::object report_;
  int runs_ = 0;
  int open_calls_ = 0;  // of the current run
  std::size_t open_call_bytes_ = 0;
  bool limited_ = false;   // the current run has said its own limits
  bool in_group_ = false;  // the current run is a group of calls
  SteadyTime busy_since_{};
  RunWatcher* watcher_ = nullptr;  // of the current run
  Completion<RunReply>* current_ = nullptr;
  std::optional<std::string> idle_early_;  // the worker was idle again before the run's coroutine was resumed
  Completion<Result<Frame>>* described_ = nullptr;
  std::optional<WorkerExit> exit_;
  std::optional<std::pair<RunEnd, std::string>> killed_;
  bool socket_closed_ = false;
  std::string socket_error_;
  std::string last_lines_;  // what came on stderr after it was asked where it is
  bool asked_ = false;
};

}  // namespace fused
