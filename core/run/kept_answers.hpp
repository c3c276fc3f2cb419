// Which finished answers are still held: at most so many bytes and so many answers, whatever their callers do. Those
// that were handed out go first, then the oldest; the newest always stays, and so does one that a caller is about to
// take.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <unordered_map>

namespace fused {

struct KeptAnswersMax {
  std::int64_t bytes = 256LL << 20;  // together; one answer alone may be larger (its own limit is result_bytes)
  std::size_t answers = 10'000;
};

class KeptAnswers {
 public:
  // `busy(key)`: a caller waits for it right now. `drop(key, may_leave_note)`: it must not be held any longer; gives
  // the bytes of a note that is left in its place (where it may be, that is: of one that nobody has taken), else 0.
  KeptAnswers(KeptAnswersMax max, std::function<bool(const std::string&)> busy,
              std::function<std::int64_t(const std::string&, bool may_leave_note)> drop)
      : max_(max), busy_(std::move(busy)), drop_(std::move(drop)) {}

  void add(const std::string& key, std::int64_t bytes);  // the newest; may drop others at once
  void taken(const std::string& key);   // it was handed out, and will be asked for again only by chance
  void remove(const std::string& key);  // forgets it, without drop()
  std::int64_t bytes() const { return bytes_; }
  std::size_t size() const { return by_key_.size(); }

 private:
  struct Kept {
    std::string key;
    std::int64_t bytes = 0;
    bool taken = false;
  };
  using Order = std::list<Kept>;
  bool is_over() const { return bytes_ > max_.bytes || by_key_.size() > max_.answers; }
  void shrink(const std::string& newest, Order& order);

  KeptAnswersMax max_;
  std::function<bool(const std::string&)> busy_;
  std::function<std::int64_t(const std::string&, bool)> drop_;
  Order waiting_, taken_;  // oldest first; notes are among the taken ones
  std::unordered_map<std::string, Order::iterator> by_key_;
  std::int64_t bytes_ = 0;
};

}  // namespace fused
