#include "storage/durable_write.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "base/log.hpp"
#include "storage/failing_sync.hpp"
#include "storage/path_resolver.hpp"
#include "storage/test_folder.hpp"
#include "storage/watched_write.hpp"

namespace fused {
namespace {

struct DurableWrite : testing::Test {
  TestFolder folder;
  FileDescriptor fd{::open(folder.path().c_str(), O_RDONLY | O_DIRECTORY)};
  WriteGate gate;

  std::size_t entries() const { return std::distance(std::filesystem::directory_iterator(folder.path()), {}); }
  void TearDown() override { let_syncs_pass(); }
};

TEST_F(DurableWrite, writes_and_replaces_a_file_readable_by_its_owner_alone) {
  ASSERT_TRUE(durable_write(gate, fd.get(), "token", "one"));
  ASSERT_TRUE(durable_write(gate, fd.get(), "token", "two"));
  EXPECT_EQ(file_text(folder / "token"), "two");
  struct stat facts{};
  ASSERT_EQ(::stat((folder / "token").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777, 0600u);
  EXPECT_EQ(entries(), 1u);
}

TEST_F(DurableWrite, a_slow_disk_is_told_on_the_log) {
  std::FILE* file = std::tmpfile();
  ASSERT_TRUE(start_log({"text", "info", ::fileno(file)}));
  ASSERT_TRUE(durable_write(gate, fd.get(), "quick", "x"));
  sync_fault.wait_ms = static_cast<int>(WatchedWrite::kSlow.count()) + 100;
  EXPECT_TRUE(durable_write(gate, fd.get(), "late", "x"));
  flush_log();
  std::string text(10'000, '\0');
  text.resize(static_cast<std::size_t>(::pread(::fileno(file), text.data(), text.size(), 0)));
  EXPECT_TRUE(start_log({}));
  std::fclose(file);
  EXPECT_NE(text.find("fsync of 'late' took 2.1 s"), std::string::npos) << text;
  EXPECT_EQ(std::ranges::count(text, '\n'), 1) << text;
}

TEST_F(DurableWrite, syncs_the_file_and_then_its_folder) {
  let_syncs_pass();
  ASSERT_TRUE(durable_write(gate, fd.get(), "a", "x"));
  EXPECT_EQ(syncs_seen(), 2);
}

TEST_F(DurableWrite, a_failed_sync_at_any_place_fails_the_write_and_closes_the_gate) {
  for (int nth = 1; nth <= 2; ++nth) {
    WriteGate fresh;
    fail_sync_at(nth, EIO);
    const Status status = durable_write(fresh, fd.get(), "b", "x");
    ASSERT_FALSE(status) << nth;
    let_syncs_pass();
    const Status next = durable_write(fresh, fd.get(), "c", "x");
    ASSERT_FALSE(next) << nth;
    EXPECT_EQ(next.error().kind, ErrorKind::unavailable);
    EXPECT_NE(next.error().message.find("restart the server"), std::string::npos) << next.error().message;
    EXPECT_FALSE(std::filesystem::exists(folder / "c"));
  }
}

TEST_F(DurableWrite, a_failed_first_sync_leaves_the_old_file_and_nothing_else) {
  ASSERT_TRUE(durable_write(gate, fd.get(), "a", "old"));
  fail_sync_at(1, EIO);
  ASSERT_FALSE(durable_write(gate, fd.get(), "a", "new"));
  EXPECT_EQ(file_text(folder / "a"), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(DurableWrite, a_full_disk_is_said_and_leaves_the_old_file_and_an_open_gate) {
  ASSERT_TRUE(durable_write(gate, fd.get(), "a", "old"));
  // The file size limit of the process stands in for the end of the disk: write() is cut short, then fails.
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{1'000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const Status status = durable_write(gate, fd.get(), "a", std::string(5'000, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, ignored);
  ASSERT_FALSE(status);
  EXPECT_EQ(file_text(folder / "a"), "old");
  EXPECT_EQ(entries(), 1u);
  EXPECT_TRUE(gate.check());
}

TEST_F(DurableWrite, may_stage_in_another_folder_even_on_another_file_system) {
  TestFolder elsewhere;
  const FileDescriptor staging(::open(elsewhere.path().c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_TRUE(durable_write_staged(gate, staging.get(), fd.get(), "a", "x"));
  EXPECT_EQ(file_text(folder / "a"), "x");
  const FileDescriptor memory(::open("/dev/shm", O_RDONLY | O_DIRECTORY));
  if (!memory) GTEST_SKIP() << "not tested: there is no /dev/shm, a second file system to stage in";
  ASSERT_TRUE(durable_write_staged(gate, memory.get(), fd.get(), "b", "y"));
  EXPECT_EQ(file_text(folder / "b"), "y");
  EXPECT_TRUE(std::filesystem::is_empty(elsewhere.path()));
  EXPECT_EQ(entries(), 2u);
}

TEST_F(DurableWrite, refuses_a_name_that_leads_elsewhere) {
  for (const std::string name : {"", ".", "..", "a/b", "../x", "a\\b"})
    EXPECT_FALSE(durable_write(gate, fd.get(), name, "x"));
  EXPECT_EQ(entries(), 0u);
}

}  // namespace
}  // namespace fused
