#include "jobs/job_store.hpp"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <unordered_map>

#include "base/text.hpp"
#include "jobs/job_plan_json.hpp"

namespace fused {
namespace {

constexpr std::size_t kErrorBytesMax = 16'384;
constexpr std::string_view kColumns =
    "SELECT id, organisation, user_id, name, instance_type, priority, plan_json, config_path, options_json, "
    "submitted_ms, state, error, total_tasks, finished_tasks, started_ms, ended_ms, started_tasks FROM job ";

std::int64_t ms(WallTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}
WallTime wall(std::int64_t milliseconds) { return WallTime(std::chrono::milliseconds(milliseconds)); }
std::optional<WallTime> wall(const Row& row, int column) {
  if (row.is_null(column)) return std::nullopt;
  return wall(row.integer(column));
}
std::string cut(const std::string& error) {
  return error.size() <= kErrorBytesMax ? valid_utf8(error) : valid_utf8(error.substr(0, kErrorBytesMax)) + "…";
}

// `failed` keeps the first row that cannot be read.
JobRow job_of(const Row& row, Status& failed) {
  JobRow job;
  JobSpec& spec = job.spec;
  spec.id = row.text(0);
  spec.organisation = row.text(1);
  spec.user_id = row.text(2);
  spec.name = row.text(3);
  spec.instance_type = row.text(4);
  spec.priority = static_cast<int>(row.integer(5));
  if (Status read = read_plan(row.text(6), spec); !read && failed) failed = read;
  spec.config_path = row.text(7);
  spec.options_json = row.text(8);
  spec.submitted_at = wall(row.integer(9));
  job.state = state_of<JobState>(row.text(10), kJobStates).value_or(JobState::failed);
  job.error = row.text(11);
  job.total_tasks = row.integer(12);
  job.finished_tasks = row.integer(13);
  job.started_at = wall(row, 14);
  job.ended_at = wall(row, 15);
  return job;
}

}  // namespace

template <class F>
Status SqliteJobStore::write(F&& work) {
  FUSED_CHECK(database_.transaction([&]() -> Status {
    FUSED_CHECK(work());
    for (const AttemptId id : gone_) FUSED_CHECK(database_.run("UPDATE job_attempt SET gone=1 WHERE id=?", {id}));
    return {};
  }));
  gone_.clear();
  return {};
}

Result<Recovered> SqliteJobStore::begin_epoch() {
  Recovered found;
  FUSED_CHECK(write([&]() -> Status {
    FUSED_CHECK(database_.run("UPDATE job_epoch SET epoch=epoch+1"));
    FUSED_CHECK(
        database_.query("SELECT epoch FROM job_epoch", {}, [&](const Row& row) { found.epoch = row.integer(0); }));
    FUSED_CHECK(database_.run("UPDATE job_attempt SET ended_as='interrupted' WHERE ended_as IS NULL"));
    FUSED_CHECK(database_.run("UPDATE job_task SET attempt_id=NULL, state='pending' WHERE attempt_id IS NOT NULL"));
    FUSED_CHECK(database_.query("SELECT id, job_id FROM job_attempt WHERE gone=0", {},
                                [&](const Row& row) { found.left_over.push_back({row.integer(0), row.text(1)}); }));
    return read_open(found.jobs);
  }));
  return found;
}

Status SqliteJobStore::read_open(std::vector<OpenJob>& jobs) {
  std::unordered_map<std::string, std::size_t> places;
  Status readable;
  const auto open = std::string(kColumns) + "WHERE state IN ('pending', 'running') ORDER BY number";
  FUSED_CHECK(database_.query(open, {}, [&](const Row& row) {
    JobRow job = job_of(row, readable);
    places.emplace(job.spec.id, jobs.size());
    jobs.push_back(
        {std::move(job.spec), job.state, row.integer(16), job.finished_tasks, {}, job.started_at.value_or(WallTime{})});
  }));
  FUSED_CHECK(readable);
  return database_.query(
      "SELECT job_id, number, attempts, function_failures, platform_failures FROM job_task WHERE state='pending'", {},
      [&](const Row& row) {
        const auto place = places.find(row.text(0));
        if (place == places.end()) return;  // of a job that has ended
        jobs[place->second].unfinished.push_back({row.integer(1), static_cast<int>(row.integer(2)),
                                                  static_cast<int>(row.integer(3)), static_cast<int>(row.integer(4))});
      });
}

Status SqliteJobStore::add_rows(const JobSpec& job) {
  FUSED_CHECK(database_.run(
      "INSERT INTO job (id, organisation, user_id, name, instance_type, priority, plan_json, config_path, "
      "options_json, submitted_ms, total_tasks, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending')",
      {job.id, job.organisation, job.user_id, job.name, job.instance_type, job.priority, plan_json(job),
       job.config_path, job.options_json, ms(job.submitted_at), job.total_tasks()}));
  // The file goes to a real object store with those of the history.
  if (!job.config_path.empty())
    FUSED_CHECK(database_.run("INSERT OR IGNORE INTO history_outbox (path) VALUES (?)", {job.config_path}));
  return {};
}

Status SqliteJobStore::start_rows(const AttemptStart& start) {
  const std::int64_t changed = FUSED_TRY(database_.run(
      "UPDATE job SET state='running', started_ms=coalesce(started_ms, ?), started_tasks=max(started_tasks, ?) "
      "WHERE id=? AND state IN ('pending', 'running')",
      {ms(start.started_at), start.task + 1, start.job_id}));
  if (changed != 1) return fail(ErrorKind::conflict, "job " + start.job_id + " is not open");
  FUSED_CHECK(database_.run("INSERT INTO job_attempt (id, job_id, task, started_ms) VALUES (?, ?, ?, ?)",
                            {start.id, start.job_id, start.task, ms(start.started_at)}));
  FUSED_CHECK(database_.run(
      "INSERT INTO job_task (job_id, number, step, state, attempts, attempt_id) VALUES (?, ?, ?, 'running', ?, ?) "
      "ON CONFLICT DO UPDATE SET state='running', attempts=excluded.attempts, attempt_id=excluded.attempt_id",
      {start.job_id, start.task, start.step, start.attempt, start.id}));
  return {};
}

Status SqliteJobStore::add(const JobSpec& job) {
  return write([&] { return add_rows(job); });
}

Status SqliteJobStore::start(const std::vector<AttemptStart>& attempts) {
  return write([&]() -> Status {
    for (const AttemptStart& start : attempts) FUSED_CHECK(start_rows(start));
    return {};
  });
}

Status SqliteJobStore::adopt(const JobSpec& job, const AttemptStart& start) {
  return write([&]() -> Status {
    FUSED_CHECK(add_rows(job));
    return start_rows(start);
  });
}

Result<bool> SqliteJobStore::record(const AttemptRecord& record) {
  bool is_ours = false;
  const std::string error = cut(record.error);
  FUSED_CHECK(write([&]() -> Status {
    const std::int64_t changed = FUSED_TRY(database_.run(
        "UPDATE job_task SET state=?, attempt_id=NULL, function_failures=?, platform_failures=?, result_path=?, "
        "error=? WHERE job_id=? AND number=? AND attempt_id=? "
        "AND (SELECT state FROM job WHERE id=job_id) IN ('pending', 'running')",
        {word(record.task_state), record.function_failures, record.platform_failures, record.result_path, error,
         record.job_id, record.task, record.id}));
    is_ours = changed == 1;
    if (!is_ours) return {};
    FUSED_CHECK(database_.run("UPDATE job_attempt SET ended_as=?, error=?, ended_ms=? WHERE id=?",
                              {word(record.end), error, ms(record.ended_at), record.id}));
    if (record.task_state != TaskState::pending)
      FUSED_CHECK(database_.run("UPDATE job SET finished_tasks=finished_tasks+1 WHERE id=?", {record.job_id}));
    if (!record.job_state) return {};
    return end_rows(record.job_id, *record.job_state, record.job_error, record.ended_at);
  }));
  return is_ours;
}

Status SqliteJobStore::end_rows(const std::string& job_id, JobState state, const std::string& error, WallTime at) {
  FUSED_CHECK(database_.run("UPDATE job SET state=?, error=?, ended_ms=? WHERE id=?",
                            {word(state), cut(error), ms(at), job_id}));
  FUSED_CHECK(database_.run(
      "UPDATE job_task SET attempt_id=NULL, state='pending' WHERE job_id=? AND attempt_id IS NOT NULL", {job_id}));
  FUSED_CHECK(database_.run(
      "UPDATE job_attempt SET ended_as='canceled', ended_ms=? WHERE job_id=? AND ended_as IS NULL", {ms(at), job_id}));
  return {};
}

Result<bool> SqliteJobStore::end_job(const std::string& job_id, JobState state, const std::string& error, WallTime at) {
  bool is_open = false;
  FUSED_CHECK(write([&]() -> Status {
    FUSED_CHECK(database_.query("SELECT 1 FROM job WHERE id=? AND state IN ('pending', 'running')", {job_id},
                                [&](const Row&) { is_open = true; }));
    return is_open ? end_rows(job_id, state, error, at) : Status();
  }));
  return is_open;
}

Result<std::vector<std::string>> SqliteJobStore::without_row(const std::vector<std::string>& ids) {
  std::vector<std::string> unknown;
  for (const std::string& id : ids) {
    bool known = false;
    FUSED_CHECK(database_.query("SELECT 1 FROM job WHERE id=?", {id}, [&](const Row&) { known = true; }));
    if (!known) unknown.push_back(id);
  }
  return unknown;
}

Result<std::optional<JobRow>> SqliteJobStore::find(const std::string& job_id) {
  std::optional<JobRow> found;
  Status readable;
  FUSED_CHECK(database_.query(std::string(kColumns) + "WHERE id=?", {job_id},
                              [&](const Row& row) { found = job_of(row, readable); }));
  FUSED_CHECK(readable);
  return found;
}

Result<std::vector<JobRow>> SqliteJobStore::list(const JobFilter& filter) {
  std::vector<JobRow> jobs;
  Status readable;
  std::string sql = std::string(kColumns) + "WHERE organisation=?1";
  if (!filter.user_id.empty()) sql += " AND user_id=?2";
  if (filter.state) sql += " AND state=?3";
  FUSED_CHECK(database_.query(sql + " ORDER BY number DESC LIMIT ?4 OFFSET ?5",
                              {filter.organisation, filter.user_id,
                               filter.state ? word(*filter.state) : std::string_view(), filter.limit, filter.skip},
                              [&](const Row& row) { jobs.push_back(job_of(row, readable)); }));
  FUSED_CHECK(readable);
  return jobs;
}

Result<std::vector<TaskRow>> SqliteJobStore::tasks(const std::string& job_id, std::int64_t from, std::int64_t limit) {
  std::vector<TaskRow> tasks;
  FUSED_CHECK(database_.query(
      "SELECT number, step, state, attempts, result_path, error FROM job_task WHERE job_id=? AND number>=? "
      "ORDER BY number LIMIT ?",
      {job_id, from, limit}, [&](const Row& row) {
        tasks.push_back({row.integer(0), static_cast<int>(row.integer(1)),
                         state_of<TaskState>(row.text(2), kTaskStates).value_or(TaskState::failed),
                         static_cast<int>(row.integer(3)), row.text(4), row.text(5)});
      }));
  return tasks;
}

Result<std::vector<AttemptRow>> SqliteJobStore::attempts(const std::string& job_id, std::int64_t skip,
                                                         std::int64_t limit) {
  std::vector<AttemptRow> attempts;
  FUSED_CHECK(database_.query(
      "SELECT id, task, ended_as, error, started_ms, ended_ms FROM job_attempt WHERE job_id=? ORDER BY id DESC "
      "LIMIT ? OFFSET ?",
      {job_id, limit, skip}, [&](const Row& row) {
        attempts.push_back({row.integer(0), row.integer(1), state_of<AttemptEnd>(row.text(2), kAttemptEnds),
                            row.text(3), wall(row.integer(4)), wall(row, 5)});
      }));
  std::ranges::reverse(attempts);
  return attempts;
}

Result<bool> SqliteJobStore::needs_parts(const std::string& organisation, const std::string& user_id,
                                         const std::string& parts) {
  bool needed = false;
  FUSED_CHECK(
      database_.query("SELECT 1 FROM job WHERE organisation=? AND user_id=? AND state<>'done' AND "
                      "json_extract(options_json, '$.parts')=? LIMIT 1",
                      {organisation, user_id, parts}, [&](const Row&) { needed = true; }));
  return needed;
}

Result<bool> SqliteJobStore::remove(const std::string& job_id) {
  std::int64_t removed = 0;
  FUSED_CHECK(write([&]() -> Status {
    removed = FUSED_TRY(database_.run("DELETE FROM job WHERE id=? AND state NOT IN ('pending', 'running')", {job_id}));
    return {};
  }));
  return removed == 1;
}

}  // namespace fused
