// Runs that their caller named (Fused-Run-Id): a second request with the id joins the run while it lasts and is
// answered again for 60 s after success; after a failure it starts a new attempt with a log folder of its own
// ("<id>.2").
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "run/kept_answers.hpp"
#include "run/run_conversation.hpp"

namespace fused {

constexpr auto kAnswerAgain = std::chrono::seconds(60);
constexpr auto kPollPatience = std::chrono::seconds(30);  // a polled run ends so long after its last poll

class RunRegistry {
 public:
  using Answer = std::optional<Result<RunOutcome>>;  // nothing: still running

  // What is kept of finished runs never exceeds `kept_max` for longer than a caller needs to take its answer. A result
  // that was dropped before anybody asked for it is told as such; the same id then starts anew.
  RunRegistry(boost::asio::io_context& io, RunService& runs, KeptAnswersMax kept_max = {});

  // Joins or begins `request.run_id` and waits at most `patience`. `polled`: the run goes on without this caller and
  // ends kPollPatience after the last poll; otherwise it ends when no caller waits any more.
  boost::asio::awaitable<Answer> start(RunRequest request, std::chrono::milliseconds patience, bool polled,
                                       std::function<void(std::function<void()>)> on_disconnect);
  // A poll. not_found for an id that is unknown, too old, or somebody else's.
  boost::asio::awaitable<Answer> poll(const std::string& run_id, const Actor& actor,
                                      std::chrono::milliseconds patience);
  // What a run has printed and where its log folder is or will be: while it lasts, and as long as it is answered again.
  // Null for an id that is unknown, too old, somebody else's, or not begun yet.
  std::shared_ptr<const RunConversation> conversation(const std::string& run_id, const Actor& actor) const;
  std::size_t size() const { return entries_.size(); }
  void stop() { tick_.cancel(); }

 private:
  struct Entry {
    std::string run_id;
    std::string user_id;
    std::shared_ptr<RunTicket> ticket;
    std::shared_ptr<RunConversation> conversation;
    Answer done;
    SteadyTime done_at{};
    SteadyTime last_poll{};
    int attempt = 1;
    int callers = 0;
    bool polled = false;
    std::list<boost::asio::steady_timer*> waiters;
  };
  using SharedEntry = std::shared_ptr<Entry>;

  void begin(const SharedEntry& entry, RunRequest request, const std::string& key);
  std::int64_t drop(const std::string& key, bool may_leave_note);  // for KeptAnswers
  boost::asio::awaitable<Answer> wait(SharedEntry entry, std::string key, std::chrono::milliseconds patience);
  boost::asio::awaitable<void> sweep();

  boost::asio::io_context& io_;
  RunService& runs_;
  boost::asio::steady_timer tick_;
  std::unordered_map<std::string, SharedEntry> entries_;
  KeptAnswers kept_;
};

}  // namespace fused
