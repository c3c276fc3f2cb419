#include "jobs/schedule_store.hpp"

#include "base/text.hpp"
#include "jobs/job.hpp"

namespace fused {
namespace {

constexpr std::size_t kNoteBytesMax = 2'000;

std::int64_t ms(WallTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}
WallTime wall(std::int64_t milliseconds) { return WallTime(std::chrono::milliseconds(milliseconds)); }
Value text_or_null(const std::string& text) { return text.empty() ? Value(nullptr) : Value(text); }
Value time_or_null(std::optional<WallTime> time) { return time ? Value(ms(*time)) : Value(nullptr); }

Schedule schedule_of(const Row& row) {
  Schedule schedule;
  schedule.id = row.text(0);
  schedule.organisation = row.text(1);
  schedule.user_id = row.text(2);
  schedule.function_id = row.text(3);
  schedule.name = row.text(4);
  schedule.description = row.text(5);
  schedule.enabled = row.integer(6) != 0;
  schedule.cron = row.text(7);
  schedule.time_zone = row.text(8);
  schedule.arguments_json = row.text(9);
  schedule.instance_type = row.text(10);
  schedule.overlap = state_of<Overlap>(row.text(11), kOverlaps).value_or(Overlap::skip);
  schedule.catch_up = state_of<CatchUp>(row.text(12), kCatchUps).value_or(CatchUp::last);
  schedule.jitter = std::chrono::milliseconds(row.integer(13));
  schedule.on_failure = row.text(14);
  if (!row.is_null(15)) schedule.due = wall(row.integer(15));
  schedule.created_at = wall(row.integer(16));
  schedule.updated_at = wall(row.integer(17));
  return schedule;
}

ScheduleRun run_of(const Row& row) {
  ScheduleRun run{row.text(0), wall(row.integer(1)), row.text(2), RunPhase::settled, row.text(4), row.text(5)};
  if (const auto phase = row.integer(3); phase >= 0 && phase <= 2) run.phase = static_cast<RunPhase>(phase);
  return run;
}

}  // namespace

Result<std::vector<Schedule>> ScheduleStore::all() {
  std::vector<Schedule> schedules;
  FUSED_CHECK(database_.query(
      "SELECT id, organisation, user_id, function_id, name, description, enabled, cron, time_zone, arguments_json, "
      "instance_type, overlap, catch_up, jitter_ms, on_failure, due_ms, created_ms, updated_ms FROM schedule "
      "ORDER BY created_ms, id",
      {}, [&](const Row& row) { schedules.push_back(schedule_of(row)); }));
  return schedules;
}

Status ScheduleStore::put(const Schedule& s) {
  return database_.transaction([&]() -> Status {
    // Not REPLACE, which would take its runs with it.
    FUSED_CHECK(database_.run(
        "INSERT INTO schedule VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18) "
        "ON CONFLICT (id) DO UPDATE SET function_id=?4, name=?5, description=?6, enabled=?7, cron=?8, time_zone=?9, "
        "arguments_json=?10, instance_type=?11, overlap=?12, catch_up=?13, jitter_ms=?14, on_failure=?15, due_ms=?16, "
        "updated_ms=?18",
        {s.id, s.organisation, s.user_id, s.function_id, s.name, s.description, s.enabled, s.cron, s.time_zone,
         s.arguments_json, s.instance_type, word(s.overlap), word(s.catch_up),
         static_cast<std::int64_t>(s.jitter.count()), s.on_failure, time_or_null(s.due), ms(s.created_at),
         ms(s.updated_at)}));
    return {};
  });
}

Status ScheduleStore::remove(const std::string& id) {
  return database_.transaction([&]() -> Status {
    FUSED_CHECK(database_.run("DELETE FROM schedule_run WHERE schedule_id=?", {id}));
    FUSED_CHECK(database_.run("DELETE FROM schedule WHERE id=?", {id}));
    return {};
  });
}

Result<bool> ScheduleStore::add_run(const ScheduleRun& run) {
  const std::string note = valid_utf8(run.note.substr(0, kNoteBytesMax));
  const std::int64_t added = FUSED_TRY(
      database_.run("INSERT OR IGNORE INTO schedule_run (schedule_id, due_ms, job_id, note, phase) VALUES (?,?,?,?,?)",
                    {run.schedule_id, ms(run.due), text_or_null(run.job_id), note, static_cast<int>(run.phase)}));
  if (added == 0) return false;
  FUSED_CHECK(
      database_.run("DELETE FROM schedule_run WHERE schedule_id=?1 AND phase=1 AND due_ms <= "
                    "(SELECT due_ms FROM schedule_run WHERE schedule_id=?1 ORDER BY due_ms DESC LIMIT 1 OFFSET ?2)",
                    {run.schedule_id, kRunsKept}));
  return true;
}

Status ScheduleStore::change_run(const ScheduleRun& run) {
  const std::string note = valid_utf8(run.note.substr(0, kNoteBytesMax));
  FUSED_CHECK(database_.run(
      "UPDATE schedule_run SET job_id=?, phase=?, note=?, failure_job_id=? WHERE schedule_id=? AND due_ms=?",
      {text_or_null(run.job_id), static_cast<int>(run.phase), note, text_or_null(run.failure_job_id), run.schedule_id,
       ms(run.due)}));
  return {};
}

Status ScheduleStore::set_due(const std::string& id, std::optional<WallTime> due) {
  FUSED_CHECK(database_.run("UPDATE schedule SET due_ms=? WHERE id=?", {time_or_null(due), id}));
  return {};
}

Result<std::vector<ScheduleRun>> ScheduleStore::unsettled() {
  std::vector<ScheduleRun> runs;
  FUSED_CHECK(database_.query(
      "SELECT schedule_id, due_ms, job_id, phase, note, failure_job_id FROM schedule_run WHERE phase<>1 "
      "ORDER BY due_ms, schedule_id",
      {}, [&](const Row& row) { runs.push_back(run_of(row)); }));
  return runs;
}

Result<std::vector<ScheduleStore::Shown>> ScheduleStore::runs(const std::string& id, std::int64_t limit) {
  std::vector<Shown> runs;
  FUSED_CHECK(database_.query(
      "SELECT r.schedule_id, r.due_ms, r.job_id, r.phase, r.note, r.failure_job_id, j.state, j.error, f.id "
      "FROM schedule_run r LEFT JOIN job j ON j.id = r.job_id LEFT JOIN job f ON f.id = r.failure_job_id "
      "WHERE r.schedule_id=? ORDER BY r.due_ms DESC LIMIT ?",
      {id, limit}, [&](const Row& row) {
        Shown& shown = runs.emplace_back(run_of(row), row.text(6), row.text(7));
        if (shown.run.phase == RunPhase::settled) return;  // its jobs have been there
        if (shown.state.empty()) shown.run.job_id.clear();
        if (row.text(8).empty()) shown.run.failure_job_id.clear();
      }));
  return runs;
}

Result<std::optional<JobEndView>> ScheduleStore::job(const std::string& job_id) {
  std::optional<JobEndView> found;
  FUSED_CHECK(database_.query("SELECT state, error, user_id FROM job WHERE id=?", {job_id}, [&](const Row& row) {
    const JobState state = state_of<JobState>(row.text(0), kJobStates).value_or(JobState::failed);
    found = JobEndView{row.text(2), !is_terminal(state), state == JobState::failed, row.text(0), row.text(1)};
  }));
  return found;
}

}  // namespace fused
