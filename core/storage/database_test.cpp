#include "storage/database.hpp"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "storage/failing_sync.hpp"
#include "storage/migrations.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

struct DatabaseTest : testing::Test {
  TestFolder folder;
  std::filesystem::path file = folder / "state.db";
  WriteGate gate;
  void TearDown() override { let_syncs_pass(); }

  static std::int64_t count(Database& database) {
    std::int64_t rows = -1;
    EXPECT_TRUE(database.query("SELECT count(*) FROM t", {}, [&](const Row& row) { rows = row.integer(0); }));
    return rows;
  }
};

TEST_F(DatabaseTest, keeps_text_numbers_and_nothing) {
  auto database = *Database::open(file, gate);
  ASSERT_TRUE(database.script("CREATE TABLE t (a TEXT, b INTEGER, c TEXT)"));
  ASSERT_EQ(database.run("INSERT INTO t VALUES (?, ?, ?)", {"x\0y", std::int64_t{1} << 60, nullptr}), 1);
  const std::string with_nul("a\0b", 3);
  ASSERT_EQ(database.run("INSERT INTO t VALUES (?, ?, ?)", {with_nul, 2, "c"}), 1);
  std::vector<std::string> seen;
  ASSERT_TRUE(database.query("SELECT a, b, c FROM t WHERE b >= ? ORDER BY b", {2}, [&](const Row& row) {
    seen.push_back(row.text(0) + "|" + std::to_string(row.integer(1)) + "|" + (row.is_null(2) ? "null" : row.text(2)));
  }));
  EXPECT_EQ(seen, (std::vector<std::string>{with_nul + "|2|c", "x|1152921504606846976|null"}));
  struct stat facts{};
  ASSERT_EQ(::stat(file.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777, 0600u);
}

TEST_F(DatabaseTest, a_failed_transaction_leaves_nothing) {
  auto database = *Database::open(file, gate);
  ASSERT_TRUE(database.script("CREATE TABLE t (a INTEGER PRIMARY KEY)"));
  EXPECT_FALSE(database.transaction([&]() -> Status {
    FUSED_CHECK(database.run("INSERT INTO t VALUES (1)"));
    FUSED_CHECK(database.run("INSERT INTO t VALUES (1)"));
    return {};
  }));
  EXPECT_EQ(count(database), 0);
  EXPECT_TRUE(database.transaction([&]() -> Status {
    FUSED_CHECK(database.run("INSERT INTO t VALUES (1)"));
    return {};
  }));
  EXPECT_EQ(count(database), 1);
}

TEST_F(DatabaseTest, what_was_committed_survives_a_kill) {
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto database = *Database::open(file, gate);
    (void)database.script("CREATE TABLE t (a INTEGER PRIMARY KEY)");
    for (std::int64_t number = 1;; ++number) {
      if (!database.run("INSERT INTO t VALUES (?)", {number})) ::_exit(1);
      if (::write(pipe_ends[1], &number, sizeof number) < 0) ::_exit(1);
    }
  }
  std::int64_t acknowledged = 0;
  while (acknowledged < 20) ASSERT_EQ(::read(pipe_ends[0], &acknowledged, sizeof acknowledged), 8);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(pipe_ends[1]);
  while (::read(pipe_ends[0], &acknowledged, sizeof acknowledged) == 8) {
  }
  ::close(pipe_ends[0]);
  auto database = *Database::open(file, gate);
  EXPECT_GE(count(database), acknowledged);
}

TEST_F(DatabaseTest, no_other_process_can_write_beside_it) {
  auto database = *Database::open(file, gate);
  ASSERT_TRUE(database.script("CREATE TABLE t (a INTEGER)"));
  const pid_t child = ::fork();
  if (child == 0) {
    sqlite3* other = nullptr;
    const bool wrote = sqlite3_open(file.c_str(), &other) == SQLITE_OK &&
                       sqlite3_exec(other, "INSERT INTO t VALUES (1)", nullptr, nullptr, nullptr) == SQLITE_OK;
    ::_exit(wrote ? 1 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(count(database), 0);
}

TEST_F(DatabaseTest, a_failed_sync_fails_the_commit_and_closes_the_gate) {
  auto database = *Database::open(file, gate);
  ASSERT_TRUE(database.script("CREATE TABLE t (a INTEGER)"));
  fail_sync_at(1, EIO);
  const auto written = database.run("INSERT INTO t VALUES (1)");
  ASSERT_GE(syncs_seen(), 1);
  let_syncs_pass();
  ASSERT_FALSE(written);
  EXPECT_EQ(database.run("INSERT INTO t VALUES (2)").error().kind, ErrorKind::unavailable);
  EXPECT_NE(gate.reason(), "");
}

TEST_F(DatabaseTest, a_file_that_is_no_database_is_refused_with_what_to_do) {
  put_file(file, std::string(4'096, 'x'));
  const auto database = Database::open(file, gate);
  ASSERT_FALSE(database);
  EXPECT_NE(database.error().message.find("backup"), std::string::npos) << database.error().message;
}

std::string schema_of(Database& database) {
  std::string schema;
  EXPECT_TRUE(database.query("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name", {},
                             [&](const Row& row) { schema += row.text(0) + "\n"; }));
  return schema;
}

TEST_F(DatabaseTest, migrates_from_every_earlier_number_to_the_same_schema_and_keeps_rows) {
  auto fresh = *Database::open(folder / "fresh.db", gate);
  ASSERT_TRUE(migrate(fresh));
  for (int from = 0; from <= newest_schema(); ++from) {
    auto database = *Database::open(folder / ("from" + std::to_string(from)), gate);
    ASSERT_TRUE(migrate(database, from)) << from;
    if (from >= 1) {
      ASSERT_TRUE(database.run("INSERT INTO organisation VALUES ('o', 'default', 1)"));
    }
    const Status status = migrate(database);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(schema_of(database), schema_of(fresh)) << from;
    std::int64_t organisations = 0;
    ASSERT_TRUE(database.query("SELECT count(*) FROM organisation", {},
                               [&](const Row& row) { organisations = row.integer(0); }));
    EXPECT_EQ(organisations, from >= 1 ? 1 : 0);
    ASSERT_TRUE(migrate(database)) << "a second time does nothing";
  }
}

TEST_F(DatabaseTest, a_step_that_fails_leaves_the_earlier_number) {
  auto database = *Database::open(file, gate);
  ASSERT_TRUE(migrate(database, 1));
  ASSERT_TRUE(database.script("CREATE TABLE revision (in_the_way TEXT)"));
  const Status status = migrate(database);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("schema 2"), std::string::npos) << status.error().message;
  std::int64_t tables = -1;
  ASSERT_TRUE(database.query("SELECT count(*) FROM sqlite_schema WHERE name = 'function'", {},
                             [&](const Row& row) { tables = row.integer(0); }));
  EXPECT_EQ(tables, 0);
  ASSERT_TRUE(database.script("DROP TABLE revision"));
  EXPECT_TRUE(migrate(database));
}

TEST_F(DatabaseTest, a_newer_schema_is_refused) {
  auto database = *Database::open(file, gate);
  ASSERT_TRUE(database.script("PRAGMA user_version=" + std::to_string(newest_schema() + 1)));
  const Status status = migrate(database);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("newer server"), std::string::npos);
}

}  // namespace
}  // namespace fused
