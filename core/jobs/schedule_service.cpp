#include "jobs/schedule_service.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/ids.hpp"
#include "base/text.hpp"
#include "jobs/passing_error.hpp"

namespace fused {
namespace {

constexpr auto kRetry = std::chrono::seconds(5);
constexpr auto kJump = std::chrono::seconds(1);  // back by more than so much: the wall clock was set

WallTime whole_ms(WallTime time) { return std::chrono::floor<std::chrono::milliseconds>(time); }

void warn(const Schedule& schedule, std::string_view what, const Error& error) {
  spdlog::warn("schedule {} ({}): {}: {}", schedule.id, printable(schedule.name), what, error.message);
}

}  // namespace

Status ScheduleService::begin() {
  for (Schedule& schedule : FUSED_TRY(store_.all())) {
    auto times = times_of(schedule);
    const std::string id = schedule.id;
    if (times) {
      entries_.emplace(id, Entry{std::move(schedule), *std::move(times)});
      continue;
    }
    // A zone that this machine's files do not have any more: it can be changed, removed and run by hand.
    warn(schedule, "is not run by itself", times.error());
    schedule.due.reset();
    entries_.emplace(id, Entry{std::move(schedule), std::nullopt});
  }
  for (ScheduleRun& run : FUSED_TRY(store_.unsettled())) {
    const bool submitted = !run.job_id.empty() && FUSED_TRY(store_.job(run.job_id)).has_value();
    Key key{run.schedule_id, run.due};
    open_.emplace(std::move(key), Open{std::move(run), submitted, false, {}});
  }
  // The clock may have been ahead when the last due times were written.
  for (auto& [id, entry] : entries_) {
    if (!entry.schedule.enabled || !entry.times) continue;
    const auto next = next_due(entry.times->fields, entry.times->zone, clock_.now());
    if (!next || (entry.schedule.due && *entry.schedule.due <= *next)) continue;
    FUSED_CHECK(store_.together([&] { return store_.set_due(id, next); }));
    entry.schedule.due = next;
  }
  return {};
}

std::vector<Schedule> ScheduleService::list(const std::string& organisation) const {
  std::vector<Schedule> found;
  for (const auto& [id, entry] : entries_)
    if (entry.schedule.organisation == organisation) found.push_back(entry.schedule);
  std::ranges::sort(found, {}, [](const Schedule& schedule) { return std::pair(schedule.created_at, schedule.id); });
  return found;
}

std::optional<Schedule> ScheduleService::find(const std::string& id) const {
  const auto found = entries_.find(id);
  return found == entries_.end() ? std::nullopt : std::optional(found->second.schedule);
}

Result<Schedule> ScheduleService::add(Schedule schedule) {
  if (entries_.size() >= kSchedulesMax)
    return fail(ErrorKind::too_many_requests, "there are " + std::to_string(entries_.size()) +
                                                  " schedules, as many as there may be; remove one first");
  schedule.id = new_uuid();
  schedule.created_at = schedule.updated_at = whole_ms(clock_.now());
  FUSED_CHECK(check_schedule(schedule));
  ScheduleTimes times = FUSED_TRY(times_of(schedule));
  schedule.due = schedule.enabled ? next_due(times.fields, times.zone, clock_.now()) : std::nullopt;
  FUSED_CHECK(store_.put(schedule));
  const std::string id = schedule.id;
  return entries_.emplace(id, Entry{std::move(schedule), std::move(times)}).first->second.schedule;
}

Result<Schedule> ScheduleService::change(const std::string& id, const std::function<Status(Schedule&)>& change) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return fail(ErrorKind::not_found, "there is no schedule '" + printable(id) + "'");
  Schedule changed = found->second.schedule;
  FUSED_CHECK(change(changed));
  changed.updated_at = whole_ms(clock_.now());
  FUSED_CHECK(check_schedule(changed));
  ScheduleTimes times = FUSED_TRY(times_of(changed));
  const Schedule& before = found->second.schedule;
  // A due time that was missed under the old words is not caught up under new ones.
  if (!changed.enabled)
    changed.due.reset();
  else if (!before.enabled || !before.due || before.cron != changed.cron || before.time_zone != changed.time_zone)
    changed.due = next_due(times.fields, times.zone, clock_.now());
  FUSED_CHECK(store_.put(changed));
  found->second = {std::move(changed), std::move(times)};
  return found->second.schedule;
}

Status ScheduleService::remove(const std::string& id) {
  if (!entries_.contains(id)) return fail(ErrorKind::not_found, "there is no schedule '" + printable(id) + "'");
  FUSED_CHECK(store_.remove(id));
  entries_.erase(id);
  std::erase_if(open_, [&](const auto& each) { return each.first.first == id; });
  return {};
}

Result<ScheduledJob> ScheduleService::run_now(const std::string& id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return fail(ErrorKind::not_found, "there is no schedule '" + printable(id) + "'");
  ScheduleRun run{id, whole_ms(clock_.now()), new_uuid(), RunPhase::open, "asked for", ""};
  for (bool added = false; !added;) {
    // Never the key of a due time, which is a whole minute.
    if (run.due.time_since_epoch() % std::chrono::minutes(1) == WallTime::duration::zero())
      run.due += std::chrono::milliseconds(1);
    FUSED_CHECK(store_.together([&]() -> Status {
      added = FUSED_TRY(store_.add_run(run));
      return {};
    }));
    if (!added) run.due += std::chrono::milliseconds(1);
  }
  const Open& open = open_.emplace(Key{id, run.due}, Open{run, false, true, {}}).first->second;
  return job_of(open, found->second.schedule);
}

std::vector<WallTime> ScheduleService::next_times(const Schedule& schedule, std::size_t count) const {
  std::vector<WallTime> times;
  const auto found = entries_.find(schedule.id);
  if (found == entries_.end() || !schedule.due || !found->second.times) return times;
  for (std::optional<WallTime> due = schedule.due; due && times.size() < count;
       due = next_due(found->second.times->fields, found->second.times->zone, *due))
    times.push_back(*due);
  return times;
}

std::optional<WallTime> ScheduleService::next() const {
  std::optional<WallTime> first;
  for (const auto& [id, entry] : entries_) {
    if (!entry.schedule.enabled || !entry.schedule.due) continue;
    const WallTime start = start_of(entry.schedule, *entry.schedule.due);
    if (!first || start < *first) first = start;
  }
  return first;
}

void ScheduleService::tick() {
  look_at_clock();
  follow();
  for (auto& [id, entry] : entries_)
    if (entry.schedule.enabled && entry.schedule.due && start_of(entry.schedule, *entry.schedule.due) <= clock_.now())
      deal_with(entry);
}

// Where the wall clock was set back, the next due time is nearer than it was. Those that were dealt with have their
// rows and are not run again.
void ScheduleService::look_at_clock() {
  const auto before = std::exchange(looked_, std::pair(clock_.now(), clock_.steady()));
  if (!before || looked_->first - before->first >= looked_->second - before->second - kJump) return;
  spdlog::warn("the clock went back; schedules are due by the new time");
  for (auto& [id, entry] : entries_) {
    if (!entry.schedule.enabled || !entry.times) continue;
    const auto next = next_due(entry.times->fields, entry.times->zone, clock_.now());
    if (!next || (entry.schedule.due && *entry.schedule.due <= *next)) continue;
    if (const Status kept = store_.together([&] { return store_.set_due(id, next); }); !kept)
      warn(entry.schedule, "its next time is not kept", kept.error());
    entry.schedule.due = next;
  }
}

std::vector<ScheduleRun> ScheduleService::rows_of(const Entry& entry, const DuePlan& plan,
                                                  std::vector<std::string>& to_cancel) const {
  const Schedule& schedule = entry.schedule;
  std::vector<ScheduleRun> rows;
  if (plan.last_missed)
    rows.push_back({schedule.id, *plan.last_missed, "", RunPhase::settled,
                    "missed" +
                        (plan.missed > 1 ? ", as " + std::to_string(plan.missed - 1) + " before it" : std::string()) +
                        ": the server was not running, or its clock went ahead (catch_up " +
                        std::string(word(schedule.catch_up)) + ")",
                    ""});
  std::vector<std::string> busy;  // ids of open jobs; "" for what waits
  for (auto at = open_.lower_bound(Key{schedule.id, WallTime::min()}); at != open_.end(); ++at) {
    if (at->first.first != schedule.id) break;
    if (at->second.run.phase == RunPhase::open) busy.push_back(at->second.run.job_id);
  }
  const bool queues = schedule.overlap == Overlap::queue || plan.late;
  const std::size_t most = plan.late ? kScheduleCatchUpMax : kScheduleWaitingMax;
  for (const WallTime due : plan.run) {
    ScheduleRun run{schedule.id, due, "", RunPhase::open, "", ""};
    if (busy.empty() || (!queues && schedule.overlap == Overlap::cancel_running)) {
      for (auto& id : busy)
        if (!id.empty()) to_cancel.push_back(std::move(id));
      busy.clear();
      run.job_id = new_uuid();
    } else if (queues && busy.size() <= most) {
      run.note = "waits for the one before it";
    } else {
      run.phase = RunPhase::settled;
      run.note = queues ? "left out: " + std::to_string(most) + " are waiting already"
                        : "left out: job " + busy.front() + " of this schedule had not ended (overlap skip)";
    }
    if (run.phase == RunPhase::open) busy.push_back(run.job_id);
    rows.push_back(std::move(run));
  }
  return rows;
}

void ScheduleService::deal_with(Entry& entry) {
  Schedule& schedule = entry.schedule;
  const DuePlan plan = plan_due(schedule, *entry.times, clock_.now());
  std::vector<std::string> to_cancel;
  std::vector<ScheduleRun> rows = rows_of(entry, plan, to_cancel);
  const Status kept = store_.together([&]() -> Status {
    std::erase_if(rows, [](const ScheduleRun& run) { return run.schedule_id.empty(); });
    for (ScheduleRun& run : rows)
      if (!FUSED_TRY(store_.add_run(run))) run.schedule_id.clear();
    return store_.set_due(schedule.id, plan.next);
  });
  if (!kept) return warn(schedule, "is due, but cannot be recorded; tried again", kept.error());
  schedule.due = plan.next;
  bool begins = false;
  for (ScheduleRun& run : rows) {
    if (run.schedule_id.empty() || run.phase != RunPhase::open) continue;
    begins = begins || !run.job_id.empty();
    Key key{run.schedule_id, run.due};
    open_.emplace(std::move(key), Open{std::move(run), false, false, {}});
  }
  if (begins)
    for (const std::string& id : to_cancel) hands_.cancel(id);
  const std::string id = schedule.id;  // submit() may disable the schedule, not remove it
  for (auto at = open_.lower_bound(Key{id, WallTime::min()}); at != open_.end() && at->first.first == id; ++at)
    if (!at->second.submitted && !at->second.run.job_id.empty() && at->second.run.phase == RunPhase::open &&
        !at->second.asked && at->second.retry_at <= clock_.steady())
      submit(at->second);
  std::erase_if(open_, [](const auto& each) { return each.second.run.phase == RunPhase::settled; });
}

bool ScheduleService::settle(Open& open, std::string note) {
  ScheduleRun settled = open.run;
  settled.phase = RunPhase::settled;
  if (!note.empty()) settled.note = std::move(note);
  const Status kept = store_.together([&] { return store_.change_run(settled); });
  if (!kept) {
    spdlog::warn("schedule {}: a run's end is not recorded yet: {}", open.run.schedule_id, kept.error().message);
    open.retry_at = clock_.steady() + kRetry;
    return false;
  }
  open.run = std::move(settled);
  return true;
}

void ScheduleService::disable(Entry& entry) {
  Schedule changed = entry.schedule;
  changed.enabled = false;
  changed.due.reset();
  changed.updated_at = whole_ms(clock_.now());
  if (const Status kept = store_.put(changed); !kept)
    return warn(entry.schedule, "its function is gone, but it cannot be disabled", kept.error());
  entry.schedule = std::move(changed);
}

ScheduledJob ScheduleService::job_of(const Open& open, const Schedule& schedule) {
  ScheduledJob job{open.run.job_id,       schedule.id,          open.run.due,  schedule.organisation,
                   schedule.user_id,      schedule.function_id, schedule.name, schedule.arguments_json,
                   schedule.instance_type};
  if (open.run.phase != RunPhase::to_tell) return job;
  std::string error;
  if (const auto failed = store_.job(open.run.job_id); failed && *failed) error = (*failed)->error;
  job.job_id = open.run.failure_job_id;
  job.function_id = schedule.on_failure;
  job.name += ":failed";
  job.instance_type.clear();
  job.arguments_json = boost::json::serialize(boost::json::object{{"schedule_id", schedule.id},
                                                                  {"schedule_name", schedule.name},
                                                                  {"job_id", open.run.job_id},
                                                                  {"due", format_utc(open.run.due)},
                                                                  {"error", error}});
  return job;
}

void ScheduleService::submit(Open& open) {
  const auto found = entries_.find(open.run.schedule_id);
  if (found == entries_.end()) return;
  open.asked = true;
  hands_.submit(job_of(open, found->second.schedule));
}

void ScheduleService::answered(const ScheduledJob& job, const Status& taken) {
  const auto at = open_.find(Key{job.schedule_id, job.due});
  const auto entry = entries_.find(job.schedule_id);
  if (at == open_.end() || entry == entries_.end()) return;  // removed meanwhile
  Open& open = at->second;
  open.asked = false;
  const bool tells = open.run.phase == RunPhase::to_tell;
  if (taken || taken.error().kind == ErrorKind::conflict) {
    if (!tells)
      open.submitted = true;
    else if (settle(open, ""))
      open_.erase(at);
    return;
  }
  warn(entry->second.schedule, tells ? "the function for failures is not run" : "its job is not taken", taken.error());
  if (is_passing(taken.error().kind)) {
    open.retry_at = clock_.steady() + kRetry;
    return;
  }
  const std::string job_id = open.run.job_id;
  if (!tells) open.run.job_id.clear();
  if (!settle(open, (tells ? "the function for failures was not run: " : "not run: ") + taken.error().message)) {
    open.run.job_id = job_id;
    return;
  }
  open_.erase(at);
  if (!tells && taken.error().kind == ErrorKind::not_found) disable(entry->second);
}

void ScheduleService::follow() {
  for (auto& [key, open] : open_)
    if (open.retry_at <= clock_.steady()) follow_one(open);
  std::erase_if(open_, [](const auto& each) { return each.second.run.phase == RunPhase::settled; });
  let_next_begin();
}

void ScheduleService::follow_one(Open& open) {
  if (open.asked) return;
  if (open.run.phase == RunPhase::to_tell) return submit(open);
  if (open.run.job_id.empty()) return;  // it waits
  if (!open.submitted) return submit(open);
  const auto job = store_.job(open.run.job_id);
  if (!job) return;
  if (!*job) {
    settle(open, "its job was removed");
    return;
  }
  if ((*job)->open) return;
  const auto entry = entries_.find(open.run.schedule_id);
  if (!(*job)->failed || entry == entries_.end() || entry->second.schedule.on_failure.empty()) {
    settle(open, "");
    return;
  }
  ScheduleRun to_tell = open.run;
  to_tell.phase = RunPhase::to_tell;
  to_tell.failure_job_id = new_uuid();
  if (!store_.together([&] { return store_.change_run(to_tell); })) return;
  open.run = std::move(to_tell);
  submit(open);
}

// Of each schedule whose first open run waits, that one begins: the one before it has ended.
void ScheduleService::let_next_begin() {
  std::string busy;  // the schedule that has an open job; keys are in its order
  for (auto& [key, open] : open_) {
    if (key.first == busy || open.run.phase == RunPhase::settled) continue;
    if (open.run.phase == RunPhase::open && open.run.job_id.empty()) {
      ScheduleRun begins = open.run;
      begins.job_id = new_uuid();
      begins.note.clear();
      if (store_.together([&] { return store_.change_run(begins); })) {
        open.run = std::move(begins);
        submit(open);
      }
    }
    if (open.run.phase != RunPhase::to_tell) busy = key.first;
  }
  std::erase_if(open_, [](const auto& each) { return each.second.run.phase == RunPhase::settled; });
}

}  // namespace fused
