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
  // The server leaves: runs that no request waits for are not followed any more.
  void drain();

 private:
  struct Entry;

 public:
  // One run as it is seen by who reads its lines. It keeps nothing of the run; each call counts as a poll.
  class Reader {
   public:
    bool is_known() const { return !entry_.expired(); }  // it goes on, or is still answered again
    const RunLines* lines() const;                       // null: nothing was printed yet, or it came from the cache
    const Result<RunOutcome>* outcome() const;           // null: still running
    bool is_abandoned() const;                           // the server leaves, and nobody waits for the result
    // Until there are lines behind `from`, the run has ended, or `patience` is over.
    boost::asio::awaitable<void> wait(std::uint64_t from, std::chrono::milliseconds patience);

   private:
    friend class RunRegistry;
    const RunRegistry* registry_ = nullptr;
    std::weak_ptr<Entry> entry_;
  };
  // By the same right as `poll`.
  Reader reader(const std::string& run_id, const Actor& actor) const;

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
    std::list<boost::asio::steady_timer*> readers;  // of its lines
    void wake_readers() const {
      for (auto* timer : readers) timer->cancel();
    }
  };
  using SharedEntry = std::shared_ptr<Entry>;

  static std::string key_of(const Actor& actor, const std::string& run_id) {
    return actor.user_id + '\n' + actor.share_token_id + '\n' + run_id;
  }
  void begin(const SharedEntry& entry, RunRequest request, const std::string& key);
  std::int64_t drop(const std::string& key, bool may_leave_note);  // for KeptAnswers
  boost::asio::awaitable<Answer> wait(SharedEntry entry, std::string key, std::chrono::milliseconds patience);
  boost::asio::awaitable<void> sweep();

  boost::asio::io_context& io_;
  RunService& runs_;
  boost::asio::steady_timer tick_;
  std::unordered_map<std::string, SharedEntry> entries_;
  KeptAnswers kept_;
  bool draining_ = false;
};

}  // namespace fused
