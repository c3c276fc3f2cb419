#include "storage/migrations.hpp"

#include <array>
#include <string>

namespace fused {
namespace {

// Times are seconds since 1970 (UTC) as whole numbers; token hashes are SHA-256 in hex; NULL expiry is "never".
constexpr std::array<const char*, 9> kSteps{// 1: who there is
                                            R"sql(
CREATE TABLE organisation (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL) STRICT;
CREATE TABLE user (
  id TEXT PRIMARY KEY, organisation_id TEXT NOT NULL REFERENCES organisation(id),
  email TEXT NOT NULL UNIQUE COLLATE NOCASE, username TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('owner', 'member')), enabled INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL, UNIQUE (organisation_id, username)) STRICT;
CREATE TABLE api_token (
  id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL REFERENCES user(id),
  name TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER) STRICT;
CREATE INDEX api_token_user ON api_token(user_id);
)sql",
                                            // 2: saved functions and what they were
                                            R"sql(
CREATE TABLE function (
  id TEXT PRIMARY KEY, organisation TEXT NOT NULL, owner_id TEXT NOT NULL REFERENCES user(id),
  collection_name TEXT NOT NULL, slug TEXT NOT NULL, udf_type TEXT NOT NULL, udf_body TEXT NOT NULL,
  allow_public_read INTEGER NOT NULL, allow_public_list INTEGER NOT NULL,
  revision TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
  UNIQUE (owner_id, collection_name, slug)) STRICT;
CREATE TABLE revision (
  id TEXT PRIMARY KEY, function_id TEXT NOT NULL REFERENCES function(id) ON DELETE CASCADE, number INTEGER NOT NULL,
  slug TEXT NOT NULL, code_hash TEXT NOT NULL, saved_by TEXT NOT NULL, saved_at INTEGER NOT NULL, path TEXT NOT NULL,
  UNIQUE (function_id, number)) STRICT;
)sql",
                                            // 3: share tokens
                                            R"sql(
CREATE TABLE share_token (
  id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, function_id TEXT NOT NULL REFERENCES function(id) ON DELETE CASCADE,
  user_id TEXT NOT NULL REFERENCES user(id), enabled INTEGER NOT NULL, cache INTEGER NOT NULL,
  public_read INTEGER NOT NULL, access_scope TEXT NOT NULL, client_id TEXT, metadata_json TEXT,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, expires_at INTEGER) STRICT;
CREATE INDEX share_token_function ON share_token(function_id);
)sql",
                                            // 4: functions of a served folder, which have no row, can be shared too
                                            R"sql(
CREATE TABLE share_token_of_any (
  id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, function_id TEXT NOT NULL,
  user_id TEXT NOT NULL REFERENCES user(id), enabled INTEGER NOT NULL, cache INTEGER NOT NULL,
  public_read INTEGER NOT NULL, access_scope TEXT NOT NULL, client_id TEXT, metadata_json TEXT,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, expires_at INTEGER) STRICT;
INSERT INTO share_token_of_any SELECT id, hash, function_id, user_id, enabled, cache, public_read, access_scope,
  client_id, metadata_json, created_at, updated_at, expires_at FROM share_token;
DROP TABLE share_token;
ALTER TABLE share_token_of_any RENAME TO share_token;
CREATE INDEX share_token_function ON share_token(function_id);
)sql",
                                            // 5: tables by name
                                            R"sql(
CREATE TABLE table_registration (
  id TEXT PRIMARY KEY, organisation TEXT NOT NULL, name TEXT NOT NULL, url TEXT NOT NULL,
  user_id TEXT NOT NULL REFERENCES user(id), created_at INTEGER NOT NULL, UNIQUE (organisation, name)) STRICT;
)sql",
                                            // 6: what was changed by a save
                                            R"sql(
ALTER TABLE revision ADD COLUMN message TEXT NOT NULL DEFAULT '';
)sql",
                                            // 7: history files that are not in the object store (history_outbox.hpp)
                                            R"sql(
CREATE TABLE history_outbox (path TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO history_outbox SELECT path FROM revision;
)sql",
                                            // 8: jobs, and when they are due (0010-jobs.md); times in milliseconds
                                            R"sql(
CREATE TABLE job_epoch (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL) STRICT;
INSERT INTO job_epoch VALUES (1, 0);
CREATE TABLE job (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, organisation TEXT NOT NULL, user_id TEXT NOT NULL,
  name TEXT NOT NULL, instance_type TEXT NOT NULL, priority INTEGER NOT NULL, plan_json TEXT NOT NULL,
  config_path TEXT NOT NULL, options_json TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed', 'canceled')),
  error TEXT NOT NULL DEFAULT '', submitted_ms INTEGER NOT NULL, started_ms INTEGER, ended_ms INTEGER,
  total_tasks INTEGER NOT NULL, started_tasks INTEGER NOT NULL DEFAULT 0,
  finished_tasks INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX job_open ON job(number) WHERE state IN ('pending', 'running');
CREATE INDEX job_of_user ON job(organisation, user_id, number);
CREATE TABLE job_task (
  job_id TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, number INTEGER NOT NULL, step INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed')), attempts INTEGER NOT NULL,
  function_failures INTEGER NOT NULL DEFAULT 0, platform_failures INTEGER NOT NULL DEFAULT 0, attempt_id INTEGER,
  result_path TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (job_id, number)) STRICT, WITHOUT ROWID;
CREATE INDEX job_task_pending ON job_task(job_id) WHERE state = 'pending';
CREATE INDEX job_task_leased ON job_task(job_id) WHERE attempt_id IS NOT NULL;
CREATE TABLE job_attempt (
  id INTEGER PRIMARY KEY, job_id TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, task INTEGER NOT NULL,
  started_ms INTEGER NOT NULL, ended_ms INTEGER, ended_as TEXT, error TEXT NOT NULL DEFAULT '',
  gone INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX job_attempt_of_job ON job_attempt(job_id, id);
CREATE INDEX job_attempt_open ON job_attempt(job_id) WHERE ended_as IS NULL;
CREATE INDEX job_attempt_left ON job_attempt(id) WHERE gone = 0;
CREATE TABLE schedule (
  id TEXT PRIMARY KEY, organisation TEXT NOT NULL, user_id TEXT NOT NULL, function_id TEXT NOT NULL,
  name TEXT NOT NULL, description TEXT NOT NULL DEFAULT '', enabled INTEGER NOT NULL, cron TEXT NOT NULL,
  time_zone TEXT NOT NULL, arguments_json TEXT NOT NULL DEFAULT '{}', instance_type TEXT NOT NULL DEFAULT '',
  overlap TEXT NOT NULL CHECK (overlap IN ('skip', 'queue', 'cancel_running')),
  catch_up TEXT NOT NULL CHECK (catch_up IN ('none', 'last', 'all')), jitter_ms INTEGER NOT NULL DEFAULT 0,
  on_failure TEXT NOT NULL DEFAULT '', due_ms INTEGER, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL) STRICT;
CREATE INDEX schedule_due ON schedule(due_ms) WHERE enabled = 1;
CREATE TABLE schedule_run (
  schedule_id TEXT NOT NULL REFERENCES schedule(id) ON DELETE CASCADE, due_ms INTEGER NOT NULL, job_id TEXT,
  note TEXT NOT NULL DEFAULT '', PRIMARY KEY (schedule_id, due_ms)) STRICT, WITHOUT ROWID;
)sql",
                                            // 9: what follows a run of a schedule, and the end of a job: its row comes
                                            // with that end, so that no kill lies between them
                                            R"sql(
ALTER TABLE schedule_run ADD COLUMN phase INTEGER NOT NULL DEFAULT 1;
ALTER TABLE schedule_run ADD COLUMN failure_job_id TEXT;
CREATE INDEX schedule_run_open ON schedule_run(phase) WHERE phase <> 1;
CREATE TABLE job_hook (
  job_id TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, number INTEGER NOT NULL, kind TEXT NOT NULL,
  target TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'failed')),
  tries INTEGER NOT NULL DEFAULT 0, next_ms INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
  function_job_id TEXT NOT NULL DEFAULT '', PRIMARY KEY (job_id, number)) STRICT, WITHOUT ROWID;
CREATE INDEX job_hook_waiting ON job_hook(next_ms) WHERE state = 'waiting';
CREATE TRIGGER job_hook_at_end AFTER UPDATE OF state ON job
WHEN NEW.state IN ('done', 'failed', 'canceled') AND OLD.state IN ('pending', 'running')
  AND instr(NEW.options_json, '"hooks":[{') > 0
BEGIN
  -- Stands for all of them until they are read from the options (jobs/hook_store.cpp).
  INSERT OR IGNORE INTO job_hook (job_id, number, kind, target, state) VALUES (NEW.id, -1, 'all', '', 'waiting');
END;
)sql"};

}  // namespace

int newest_schema() { return static_cast<int>(kSteps.size()); }

Status migrate(Database& database, int target) {
  int number = -1;
  FUSED_CHECK(
      database.query("PRAGMA user_version", {}, [&](const Row& row) { number = static_cast<int>(row.integer(0)); }));
  if (number > newest_schema())
    return fail(ErrorKind::conflict, "state.db has schema " + std::to_string(number) + ", this server knows up to " +
                                         std::to_string(newest_schema()) +
                                         "; start the newer server that wrote it, or restore a backup");
  for (; number < target; ++number) {
    const std::string step =
        kSteps.at(static_cast<std::size_t>(number)) + ("PRAGMA user_version=" + std::to_string(number + 1));
    Status status = database.transaction([&] { return database.script(step); });
    if (!status)
      return std::unexpected(status.error().within("cannot bring state.db to schema " + std::to_string(number + 1)));
  }
  return {};
}

}  // namespace fused
