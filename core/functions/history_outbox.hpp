// History files on their way from DIR/s3 to a real object store. A save is acknowledged when its file and its row of
// `history_outbox` (state.db, one transaction with the revision) are on the local disk; the object follows. A row goes
// when the store has taken the object, so nothing is lost by a kill, a restart or a store that is down, and a store
// that is set up later is sent everything. Sending twice is harmless: same key, same bytes.
#pragma once
#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace fused {

struct HistoryOutboxOptions {
  std::string endpoint;             // http[s]://host[:port]; "": there is no object store, nothing is sent
  std::filesystem::path data;       // DIR: rows name files relative to it
  std::vector<std::string> sender;  // a program and its arguments, see fused/_send_objects.py
  std::vector<std::string> environment;
};

struct HistoryOutboxFigures {
  std::string endpoint;
  std::size_t backlog = 0;   // objects that are not in the store yet
  std::uint64_t sent = 0;    // since the start
  std::uint64_t failed = 0;  // tries
  std::string trouble;       // what the store said last, or "" where it takes what it is sent
};

class HistoryOutbox {
 public:
  // `sent`: paths whose rows may go; called on the outbox's own thread.
  HistoryOutbox(HistoryOutboxOptions options, std::function<void(std::vector<std::string>)> sent);
  ~HistoryOutbox();
  void add(std::vector<std::string> paths);  // any thread
  HistoryOutboxFigures figures() const;      // any thread
  void close();                              // what is not sent stays in the table

 private:
  void work();
  std::vector<std::string> send(const std::vector<std::string>& paths, std::string& trouble);

  HistoryOutboxOptions options_;
  std::function<void(std::vector<std::string>)> sent_;
  mutable std::mutex mutex_;  // of all below
  std::condition_variable wake_;
  std::deque<std::string> waiting_;
  HistoryOutboxFigures figures_;
  pid_t child_ = 0;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace fused
