// Schedules at work: keeps them, sees what is due, submits it, follows its jobs. On the state thread only; the clock,
// the store and what submits are given, so that schedule_service_test can move, fail and restart everything.
//
// A due time's row is committed with the id of its job before that job is submitted, and a submit is repeated with the
// same id until it has succeeded: a kill between the two neither loses a due time nor runs it twice.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "jobs/schedule_store.hpp"

namespace fused {

// What a schedule wants run. The job belongs to the schedule's user.
struct ScheduledJob {
  std::string job_id;  // chosen by the schedule; kept when it is submitted again
  std::string schedule_id;
  WallTime due{};
  std::string organisation;
  std::string user_id;
  std::string function_id;
  std::string name;
  std::string arguments_json;  // an object: parameters of one call; a list: a task for each
  std::string instance_type;
};

// Called on the state thread; must not call back from within.
struct ScheduleHands {
  // Submits the job and tells ScheduleService::answered how that went.
  std::function<void(const ScheduledJob&)> submit;
  std::function<void(const std::string& job_id)> cancel;
};

class ScheduleService {
 public:
  ScheduleService(ScheduleStore& store, const Clock& clock, ScheduleHands hands)
      : store_(store), clock_(clock), hands_(std::move(hands)) {}

  Status begin();  // first, once: reads all, takes up what another life of the server left

  std::vector<Schedule> list(const std::string& organisation) const;
  std::optional<Schedule> find(const std::string& id) const;
  // Fills in id and times. too_many_requests beyond kSchedulesMax.
  Result<Schedule> add(Schedule schedule);
  // `change` alters a copy; what is then wrong is refused and nothing has changed. not_found.
  Result<Schedule> change(const std::string& id, const std::function<Status(Schedule&)>& change);
  Status remove(const std::string& id);
  // Also of a disabled one, and beside whatever runs. The caller submits what it gives and tells `answered`; where he
  // does not come to that, the next life of the server does.
  Result<ScheduledJob> run_now(const std::string& id);
  // conflict: a job of that id is there already. not_found: the function is gone. unavailable, too_many_requests,
  // storage_full, timeout and internal are tried again, the rest is final.
  void answered(const ScheduledJob& job, const Status& taken);
  Result<std::vector<ScheduleStore::Shown>> runs(const std::string& id, std::int64_t limit) {
    return store_.runs(id, limit);
  }
  std::vector<WallTime> next_times(const Schedule& schedule, std::size_t count) const;

  // Does what is due. To be called when `next` comes, and once a second while `is_following`.
  void tick();
  std::optional<WallTime> next() const;
  bool is_following() const { return !open_.empty(); }

 private:
  struct Entry {
    Schedule schedule;
    std::optional<ScheduleTimes> times;  // none: its time zone is not on this machine any more
  };
  struct Open {
    ScheduleRun run;
    bool submitted = false;
    bool asked = false;  // the answer to a submit is on its way
    SteadyTime retry_at{};
  };
  using Key = std::pair<std::string, WallTime>;

  void look_at_clock();
  void deal_with(Entry& entry);
  std::vector<ScheduleRun> rows_of(const Entry& entry, const DuePlan& plan, std::vector<std::string>& to_cancel) const;
  void follow();
  void follow_one(Open& open);
  void submit(Open& open);
  ScheduledJob job_of(const Open& open, const Schedule& schedule);
  void let_next_begin();
  bool settle(Open& open, std::string note);
  void disable(Entry& entry);

  ScheduleStore& store_;
  const Clock& clock_;
  ScheduleHands hands_;
  std::map<std::string, Entry> entries_;
  std::map<Key, Open> open_;  // rows that are not settled
  std::optional<std::pair<WallTime, SteadyTime>> looked_;
};

}  // namespace fused
