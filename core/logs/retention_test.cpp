#include "logs/retention.hpp"

#include <sys/mount.h>
#include <sys/stat.h>

#include <boost/json.hpp>
#include <fstream>
#include <thread>

#include "logs/run_log_fixture.hpp"

namespace fused::logs_test {

class RetentionTest : public RunLogTest {
 protected:
  void append_many(const std::string& prefix, int count) {
    for (int number = 0; number < count; ++number) append(record(prefix + std::to_string(number)));
    wait();
  }
  std::size_t of_day(const std::string& day) const {
    const auto all = folders();
    return static_cast<std::size_t>(std::count_if(
        all.begin(), all.end(), [&](const auto& path) { return path.string().find(day) != std::string::npos; }));
  }
  template <class Done>
  bool eventually(Done done) const {
    const auto give_up = std::chrono::steady_clock::now() + seconds(15);
    while (!done() && std::chrono::steady_clock::now() < give_up) std::this_thread::sleep_for(milliseconds(5));
    return done();
  }
};

TEST_F(RetentionTest, SaysTheBoundAtStart) {
  auto chosen = options();
  chosen.retention.bytes_max = 25'200'000'000;
  chosen.retention.inodes_max = 1'677'721;
  open(chosen);
  EXPECT_EQ(log->bound(), "90 days, at most 25.2 GB and 1,677,721 files and folders");
}

TEST_F(RetentionTest, MakesTheOldestFolderIntoTheNewOneAtTheLimitOfFiles) {
  auto chosen = options();
  chosen.retention.inodes_max = 40;  // 20 folders
  open(chosen);
  append_many("old", 20);
  std::set<ino_t> before;
  struct stat info{};
  for (const auto& found : folders()) {
    ASSERT_EQ(::stat((found / "metadata.json").c_str(), &info), 0);
    before.insert(info.st_ino);
  }
  clock.move(hours(1));
  append_many("new", 15);
  const auto metrics = log->metrics();
  EXPECT_EQ(folders().size(), 20u);
  EXPECT_EQ(metrics.folders_recycled, 15u);
  EXPECT_EQ(metrics.folders_removed, 0u) << "nothing is deleted, so creation stays cheap";
  EXPECT_EQ(metrics.used.inodes, 40);
  for (int number = 0; number < 15; ++number) {
    const RunRecord run = record("new" + std::to_string(number));
    const auto meta = boost::json::parse(read_file(folder(run) / "metadata.json"));
    EXPECT_EQ(meta.at("request_id").as_string(), run.request_id);
    ASSERT_EQ(::stat((folder(run) / "metadata.json").c_str(), &info), 0);
    EXPECT_TRUE(before.contains(info.st_ino)) << "no new inode";
  }
}

TEST_F(RetentionTest, LeavesNothingOfTheOldRunInAReusedFolder) {
  auto chosen = options();
  chosen.retention.inodes_max = 4;
  open(chosen);
  RunRecord old = record("old");
  old.stdout_text = std::string(10'000, 's') + "secret";
  old.stderr_text = "secret";
  old.error_message = std::string(3'000, 'm');
  append(old);
  wait();
  clock.move(hours(1));
  RunRecord fresh = record("fresh");
  fresh.udf_name = "other";
  fresh.code = std::make_shared<const std::string>("def udf(): pass\n");
  fresh.stdout_text = "short";
  append(fresh);
  wait();
  ASSERT_EQ(folders().size(), 1u);
  const auto at = folder(fresh);
  EXPECT_EQ(read_file(at / "stdout.log"), "short");
  EXPECT_EQ(read_file(at / "stderr.log"), "");
  EXPECT_EQ(boost::json::parse(read_file(at / "udf.json")).at("code").as_string(), "def udf(): pass\n");
  EXPECT_EQ(boost::json::parse(read_file(at / "metadata.json")).at("udf_name").as_string(), "other");
  clock.move(hours(1));
  append(record("empty"));
  wait();
  EXPECT_EQ(read_file(folder(record("empty")) / "stdout.log"), "");
}

TEST_F(RetentionTest, OverwritesNothingThatAFunctionPutIntoAnOldFolder) {
  auto chosen = options();
  chosen.retention.inodes_max = 4;
  open(chosen);
  append(record("old"));
  wait();
  const auto at = folder(record("old"));
  std::ofstream(root / "mount/precious.txt") << "precious";
  fs::remove(at / "metadata.json");
  fs::create_hard_link(root / "mount/precious.txt", at / "metadata.json");
  fs::remove(at / "stdout.log");
  fs::create_symlink(root / "mount/precious.txt", at / "stdout.log");
  clock.move(hours(1));
  RunRecord run = record("fresh");
  run.stdout_text = "output";
  append(run);
  wait();
  EXPECT_EQ(read_file(root / "mount/precious.txt"), "precious");
  EXPECT_EQ(read_file(folder(run) / "stdout.log"), "output");
  EXPECT_FALSE(fs::is_symlink(folder(run) / "stdout.log"));
  clock.move(hours(1));
  fs::create_directories(folder(run) / "deep/er");
  std::ofstream(folder(run) / "deep/er/file") << "x";
  append(record("third"));
  wait();
  EXPECT_EQ(std::distance(fs::directory_iterator(folder(record("third"))), fs::directory_iterator()), 4);
}

TEST_F(RetentionTest, KeepsTheBytesOfLargeOutputWithinTheBound) {
  auto chosen = options();
  chosen.retention.bytes_max = 20 << 20;
  chosen.retention.removed_per_second = 1;
  open(chosen);
  for (int number = 0; number < 60; ++number) {
    RunRecord run = record("big" + std::to_string(number));
    run.started = clock.now() - hours(24) + minutes(number);
    run.stdout_text.assign(1 << 20, 'x');
    append(run);
  }
  wait();
  EXPECT_TRUE(eventually([&] { return log->metrics().used.bytes < (21 << 20); })) << log->metrics().used.bytes;
  EXPECT_GE(folders().size(), 15u);
  EXPECT_LE(folders().size(), 21u);
  EXPECT_FALSE(fs::exists(folder(record("big0")))) << "the oldest went";
}

TEST_F(RetentionTest, RemovesWhatIsPastItsDaysGentlyAndItsEmptyFoldersToo) {
  auto chosen = options();
  chosen.retention.days = 2;
  chosen.retention.removed_per_second = 100;
  open(chosen);
  append_many("first", 60);
  clock.move(hours(24));
  append_many("second", 5);
  log.reset();
  clock.move(hours(48));
  const auto begin = std::chrono::steady_clock::now();
  open(chosen);
  ASSERT_TRUE(eventually([&] { return !fs::exists(logs() / "2026-11-21"); }));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(400)) << "60 folders at 100 a second";
  EXPECT_EQ(of_day("2026-11-22"), 5u) << "two days old is not past two days";
  EXPECT_TRUE(eventually([&] { return log->metrics().used.folders == 5; }));
}

TEST_F(RetentionTest, UsesUpExpiredFoldersForNewRuns) {
  auto chosen = options();
  chosen.retention.days = 2;
  chosen.retention.removed_per_second = 0;
  open(chosen);
  append_many("old", 10);
  log.reset();
  clock.move(hours(24 * 5));
  open(chosen);
  append_many("new", 10);
  EXPECT_EQ(log->metrics().folders_recycled, 10u);
  EXPECT_EQ(of_day("2026-11-21"), 0u);
  EXPECT_EQ(of_day("2026-11-26"), 10u);
}

TEST_F(RetentionTest, CountsAnewWhereItsCountsAreLost) {
  open(options());
  append_many("run", 10);
  log.reset();
  for (const char* broken : {"", "{", "{\"days\":[]}", "[]"}) {
    std::ofstream(root / "journal/usage.json", std::ios::trunc) << broken;
    open(options());
    wait();
    EXPECT_EQ(log->metrics().used.folders, 10) << broken;
    EXPECT_EQ(log->metrics().used.inodes, 20) << broken;
    log.reset();
  }
  fs::remove(root / "journal/usage.json");
  open(options());
  wait();
  EXPECT_EQ(log->metrics().used.folders, 10);
}

TEST_F(RetentionTest, NoticesDaysThatSomebodyElseRemoved) {
  auto chosen = options();
  chosen.retention.inodes_max = 20;
  open(chosen);
  append_many("run", 10);
  fs::remove_all(logs() / "2026-11-21");
  clock.move(hours(24));
  append_many("more", 10);
  EXPECT_EQ(folders().size(), 10u);
  EXPECT_EQ(log->metrics().used.folders, 10);
}

// A small file system of its own: only root may mount one.
TEST_F(RetentionTest, SurvivesAFullDiskAndRecovers) {
  const auto disk = root / "disk";
  fs::create_directories(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=1m,nr_inodes=200") != 0)
    GTEST_SKIP() << "cannot mount a small tmpfs (" << std::strerror(errno) << "): the full disk is not tested here";
  auto chosen = options();
  chosen.mount = disk / "mount";
  chosen.retention.free_bytes_min = 0;
  chosen.retry_after = milliseconds(50);
  chosen.retention.disk_share = 1;
  open(chosen);
  std::ofstream(disk / "filler") << std::string(600 << 10, 'f');
  for (int number = 0; number < 300; ++number) {
    clock.move(seconds(1));
    RunRecord run = record("run" + std::to_string(number));
    if (number % 10 == 0) run.stdout_text.assign(20'000, 'x');
    append(run);
  }
  ASSERT_TRUE(log->wait_until_written(seconds(20))) << "old folders make room for new ones";
  const auto metrics = log->metrics();
  EXPECT_EQ(metrics.folders_written, 300u);
  EXPECT_EQ(metrics.records_lost, 0u);
  fs::remove_all(disk / "mount/fused-system/logs");
  std::ofstream(disk / "filler2") << std::string(1 << 20, 'f');  // full, and nothing old is left
  append(record("waits"));
  EXPECT_TRUE(eventually([&] { return log->metrics().errors > metrics.errors; }));
  EXPECT_EQ(log->metrics().backlog_records, 1u);
  fs::remove(disk / "filler2");
  EXPECT_TRUE(eventually([&] { return log->metrics().backlog_records == 0; })) << "it recovers without a restart";
  log.reset();
  ::umount2(disk.c_str(), MNT_DETACH);
}

}  // namespace fused::logs_test
