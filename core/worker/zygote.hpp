// The preloaded Python process that workers are forked from (ARCHITECTURE.md, "Processes"). It runs no user code. When
// it dies its workers die with it, and it is started again.
#pragma once
#include <sys/types.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/seq_packet_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace fused {

struct WorkerExit {
  int worker = 0;
  pid_t pid = 0;
  int wait_status = 0;  // as waitpid gives it
  std::int64_t max_rss_bytes = 0;
};

struct ZygoteOptions {
  std::string python;                    // interpreter
  std::vector<std::string> environment;  // NAME=value; nothing else of the server's environment is passed on
};

struct ZygoteEvents {
  std::function<void()> ready;
  std::function<void(int worker, pid_t pid)> forked;
  std::function<void(int worker, std::string message)> fork_failed;
  std::function<void(const WorkerExit&)> exited;
  std::function<void(std::string why)> lost;  // the zygote ended; it is being started again
  // It ended by itself, again and again, and was never ready: this interpreter cannot run functions. Nothing more is
  // tried.
  std::function<void(std::string why)> unfit;
};

class Zygote {
 public:
  Zygote(boost::asio::io_context& io, ZygoteOptions options, ZygoteEvents events);
  ~Zygote();

  Status start();
  // Asks for a worker. The three descriptors are passed on and closed here. Answered by forked or fork_failed.
  // `late`: the worker enters its sandbox when a frame `enter` comes.
  Status fork_worker(int worker, std::uint64_t nonce, const boost::json::object& sandbox, bool late, int socket,
                     int out, int err);
  bool is_ready() const { return ready_; }
  pid_t pid() const { return pid_; }
  // Ends it and, by that, the workers it has forked.
  void stop();

 private:
  Status spawn();
  boost::asio::awaitable<void> read_loop();
  void handle(std::string_view message);
  int reap();  // how it ended, as waitpid gives it; 0 where that is not known

  boost::asio::io_context& io_;
  ZygoteOptions options_;
  ZygoteEvents events_;
  boost::asio::generic::seq_packet_protocol::socket control_;
  pid_t pid_ = -1;
  bool ready_ = false;
  bool was_ready_ = false;
  bool stopping_ = false;
  int quick_deaths_ = 0;
};

}  // namespace fused
