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
  void over();  // ends what the run has started and nobody waits for any more

  CapturedStream out;
  CapturedStream err;
  std::string log_dir;  // of the run, as functions see it
  // Null until somebody may follow the run: from then on, with what it has printed before.
  std::unique_ptr<RunLines> lines;
  void keep_lines();
  // May be empty.
  std::function<void(int stream, std::string_view bytes)> on_output;
  std::function<void(std::int64_t pid)> on_started;

 private:
  boost::asio::io_context& io_;
  std::int64_t stream_bytes_;
  Actor actor_;  // of kind run
  std::shared_ptr<RunTicket> ticket_;
  NestedHandler& nested_;
  std::vector<std::function<void()>> on_end_;
  bool over_ = false;
};

// Who a running function is towards the server: its owner's rights, for running functions and files only.
Actor run_actor(const RunRequest& request);

}  // namespace fused
