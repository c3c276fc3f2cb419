// The processes that read tables (`fused-table`): started when the first question comes, one question at a time each,
// replaced when they end, hang or answer what is no frame. One thread.
#pragma once
#include <sys/types.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/completion.hpp"
#include "base/result.hpp"

namespace fused {

struct TableProcessesOptions {
  std::filesystem::path program;  // fused-table
  std::filesystem::path scratch;  // DIR/scratch: one folder a process below it
  boost::json::object sandbox;    // core/sandbox/sandbox.hpp, without scratch
  std::vector<std::string> environment;
  int processes = 2;
  std::size_t queue_length = 512;
  std::chrono::milliseconds wall{30'000};  // of one question
  std::int64_t body_bytes_max = 512LL << 20;
};

struct TableAnswer {
  boost::json::object header;
  Bytes body;
};

class TableProcesses {
 public:
  TableProcesses(boost::asio::io_context& io, TableProcessesOptions options);
  ~TableProcesses();

  // The answer, or the Error that the process answered; timeout, unavailable (it ended, also when it was asked for the
  // second time), too_many_requests.
  // `gone`: when it is true before a process is free, nobody is asked.
  boost::asio::awaitable<Result<TableAnswer>> ask(std::string question, std::shared_ptr<const bool> gone = nullptr);

  // Folders outside the mount that they may read. Processes that run are replaced when it changes.
  void set_folders(std::vector<std::string> folders);
  void stop();

  int started() const { return started_; }

 private:
  struct Process;
  struct Waiting {
    Completion<bool> turn;
    std::shared_ptr<const bool> gone;
  };
  boost::asio::awaitable<Status> wait_for_turn(std::shared_ptr<const bool> gone);
  void end_turn();
  Result<std::shared_ptr<Process>> spawn();
  Result<std::shared_ptr<Process>> take();
  boost::asio::awaitable<Result<TableAnswer>> ask_one(std::shared_ptr<Process> process, std::string question);
  boost::asio::awaitable<Result<TableAnswer>> converse(Process& process, std::string question);

  boost::asio::io_context& io_;
  TableProcessesOptions options_;
  std::vector<std::string> folders_;
  int generation_ = 0;  // of `folders_`
  int turns_;           // that are free
  int started_ = 0;
  bool stopping_ = false;
  std::deque<std::shared_ptr<Waiting>> queue_;
  std::vector<std::shared_ptr<Process>> idle_;
  std::vector<std::weak_ptr<Process>> all_;
};

}  // namespace fused
