#include "storage/data_folder.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "storage/test_folder.hpp"

namespace fused {
namespace {

TEST(DataFolder, makes_what_is_missing_for_its_owner_alone_and_opens_again) {
  TestFolder folder;
  const auto root = folder / "deep/data";
  for (int start = 0; start < 2; ++start) {
    const auto data = DataFolder::open(root);
    ASSERT_TRUE(data) << data.error().message;
    EXPECT_EQ(data->path(), root);
    for (const auto& path : {data->path(), data->mount(), data->logs(), data->cached_data(), data->s3(),
                             data->scratch(), data->journal()}) {
      struct stat facts{};
      ASSERT_EQ(::stat(path.c_str(), &facts), 0) << path;
      EXPECT_EQ(facts.st_mode & 07777, 0700u) << path;
    }
    EXPECT_EQ(file_text(root / "VERSION"), "1\n");
    ASSERT_TRUE(data->make_home("default", "owner"));
    EXPECT_TRUE(std::filesystem::is_directory(root / "s3/fused-users/default/owner"));
    EXPECT_TRUE(std::filesystem::is_directory(root / "s3/fused-users/default/fused-system/history"));
  }
}

TEST(DataFolder, a_second_server_is_refused_with_the_first_ones_pid) {
  TestFolder folder;
  auto first = DataFolder::open(folder / "data");
  ASSERT_TRUE(first);
  const auto second = DataFolder::open(folder / "data");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::conflict);
  EXPECT_NE(second.error().message.find("process id " + std::to_string(::getpid())), std::string::npos)
      << second.error().message;
}

TEST(DataFolder, a_killed_servers_lock_is_gone_with_it) {
  TestFolder folder;
  const auto root = folder / "data";
  const pid_t child = ::fork();
  if (child == 0) {
    auto data = DataFolder::open(root);
    ::kill(::getpid(), SIGKILL);
    ::_exit(data ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(DataFolder::open(root));
}

TEST(DataFolder, a_newer_version_is_refused_and_left_alone) {
  TestFolder folder;
  put_file(folder / "VERSION", "2\n");
  const auto data = DataFolder::open(folder.path());
  ASSERT_FALSE(data);
  EXPECT_NE(data.error().message.find("newer server"), std::string::npos) << data.error().message;
  EXPECT_FALSE(std::filesystem::exists(folder / "mount"));
  EXPECT_EQ(file_text(folder / "VERSION"), "2\n");
}

TEST(DataFolder, a_version_that_is_no_number_is_refused) {
  for (const std::string text : {"", "one\n", "0\n", "-1", "1x"}) {
    TestFolder folder;
    put_file(folder / "VERSION", text);
    EXPECT_FALSE(DataFolder::open(folder.path())) << text;
  }
}

TEST(DataFolder, somebody_elses_folder_is_refused_and_left_alone) {
  TestFolder folder;
  put_file(folder / "thesis.txt", "text");
  const auto data = DataFolder::open(folder.path());
  ASSERT_FALSE(data);
  EXPECT_NE(data.error().message.find("thesis.txt"), std::string::npos) << data.error().message;
  EXPECT_FALSE(std::filesystem::exists(folder / "VERSION"));
}

TEST(DataFolder, a_start_that_was_killed_early_does_not_hinder_the_next) {
  TestFolder folder;
  put_file(folder / "lock", "");
  put_file(folder / ".writing-1", "half");
  std::filesystem::create_directory(folder / "mount");
  ASSERT_TRUE(DataFolder::open(folder.path()));
  EXPECT_FALSE(std::filesystem::exists(folder / ".writing-1"));
}

TEST(DataFolder, secrets_that_came_back_readable_for_others_are_made_private) {
  TestFolder folder;
  {
    ASSERT_TRUE(DataFolder::open(folder / "data"));
  }
  for (const char* name : {"token", "share-key", "state.db"}) {
    put_file(folder / "data" / name, "");
    ASSERT_EQ(::chmod((folder / "data" / name).c_str(), 0644), 0);
  }
  ASSERT_TRUE(DataFolder::open(folder / "data"));
  for (const char* name : {"token", "share-key", "state.db"}) {
    struct stat facts{};
    ASSERT_EQ(::stat((folder / "data" / name).c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 07777, 0600u) << name;
  }
}

TEST(DataFolder, a_database_without_version_is_said_to_be_damaged) {
  TestFolder folder;
  put_file(folder / "state.db", "");
  const auto data = DataFolder::open(folder.path());
  ASSERT_FALSE(data);
  EXPECT_NE(data.error().message.find("VERSION"), std::string::npos);
}

}  // namespace
}  // namespace fused
