// One run while it lasts: it collects what the function prints and answers what the function asks of the server.
#pragma once
#include <boost/asio/io_context.hpp>
#include <memory>
#include <vector>

#include "logs/streams.hpp"
#include "run/run_lines.hpp"
#include "run/run_service.hpp"

namespace fused {

class RunConversation : public RunWatcher, public std::enable_shared_from_this<RunConversation> {
 public:
  RunConversation(boost::asio::io_context& io, const RunRequest& request, std::shared_ptr<RunTicket> ticket,
                  NestedHandler& nested);

  void started(int worker, std::int64_t pid) override;
  void output(int stream, std::string_view bytes) override;
  void call(NestedCall call, std::function<void(std::string, std::string_view)> answer) override;
  void limited(const RunLimits& limits) override {
    out.lower(limits.stream_bytes);
    err.lower(limits.stream_bytes);
    stream_bytes_ = limits.stream_bytes;
    if (lines) lines->lower(limits.stream_bytes);
  }
  void asked(const boost::json::object& wishes) override;
  bool wall_reached(const RunLimits& limits) override { return on_wall && on_wall(limits); }
  bool asks_for_job() const { return asks_for_job_; }  // the function, by its decorator
  void over();                                         // ends what the run has started and nobody waits for any more

  CapturedStream out;
  CapturedStream err;
  std::string log_dir;  // of the run, as functions see it
  // Null until somebody may follow the run: from then on, with what it has printed before.
  std::unique_ptr<RunLines> lines;
  void keep_lines();
  void close_lines() { lines_are_closed_ = true; }  // what comes from now on is a job's
  // May be empty.
  std::function<void(int stream, std::string_view bytes)> on_output;
  std::function<void(std::int64_t pid)> on_started;
  std::function<bool(const RunLimits& limits)> on_wall;

 private:
  boost::asio::io_context& io_;
  std::int64_t stream_bytes_;
  Actor actor_;  // of kind run
  std::shared_ptr<RunTicket> ticket_;
  NestedHandler& nested_;
  std::vector<std::function<void()>> on_end_;
  bool over_ = false;
  bool asks_for_job_ = false;
  bool lines_are_closed_ = false;
};

// Who a running function is towards the server: its owner's rights, for running functions and files only.
Actor run_actor(const RunRequest& request);

}  // namespace fused
