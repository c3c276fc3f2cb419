#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "sandbox/sandbox.hpp"

namespace fused {
namespace {

namespace fs = std::filesystem;

class MountLink : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fused-link-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    fs::create_directories(folder_ / "data" / "mount");
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(MountLink, is_made_where_nothing_is_and_found_the_second_time) {
  const auto mount = folder_ / "data" / "mount";
  ASSERT_TRUE(prepare_mount_link(mount, folder_ / "link"));
  EXPECT_EQ(fs::read_symlink(folder_ / "link"), mount);
  EXPECT_TRUE(mount_link_stands(mount, folder_ / "link"));
  EXPECT_TRUE(prepare_mount_link(mount, folder_ / "link"));
}

TEST_F(MountLink, of_another_server_stays_and_is_named) {
  fs::create_directories(folder_ / "other");
  fs::create_symlink(folder_ / "other", folder_ / "link");
  const auto made = prepare_mount_link(folder_ / "data" / "mount", folder_ / "link");
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find((folder_ / "other").string()), std::string::npos);
  EXPECT_NE(made.error().message.find("ln -s"), std::string::npos);
  EXPECT_EQ(fs::read_symlink(folder_ / "link"), folder_ / "other");
}

TEST_F(MountLink, does_not_replace_a_folder) {
  fs::create_directories(folder_ / "link");
  const auto made = prepare_mount_link(folder_ / "data" / "mount", folder_ / "link");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind, ErrorKind::conflict);
  EXPECT_TRUE(fs::is_directory(folder_ / "link"));
}

TEST_F(MountLink, says_why_it_cannot_be_made) {
  const auto made = prepare_mount_link(folder_ / "data" / "mount", folder_ / "no" / "such" / "link");
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("FUSED_MOUNT"), std::string::npos);
}

TEST(SandboxSpec, is_read_with_all_its_members) {
  const auto spec = parse_sandbox_spec(
      R"({"isolation":"none","data":"/d/","mount":"/d/mount","scratch":"/d/scratch/1","python_paths":["/usr"],)"
      R"("network":false,"limits":{"processes":5,"memory_bytes":1000},"without":["seccomp"],"keep_descriptors":[3]})");
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->data, "/d");
  EXPECT_FALSE(spec->network);
  EXPECT_EQ(spec->limits.processes, 5);
  EXPECT_EQ(spec->limits.wall_ms, RunLimits{}.wall_ms);
  EXPECT_EQ(spec->keep_descriptors, std::vector<int>{3});
}

TEST(SandboxSpec, that_is_wrong_is_refused_by_the_name_of_what_is_wrong) {
  const std::string good = R"("data":"/d","mount":"/d/m","scratch":"/d/s")";
  const std::pair<std::string, std::string> cases[] = {
      {"", "object"},
      {"[]", "object"},
      {"{}", "'data'"},
      {R"({"data":"d","mount":"/m","scratch":"/s"})", "'data'"},
      {R"({"data":"/","mount":"/m","scratch":"/s"})", "'data'"},
      {"{" + good + R"(,"isolation":"some"})", "'isolation'"},
      {"{" + good + R"(,"limits":{"memory":1}})", "limits.memory"},
      {"{" + good + R"(,"limits":{"processes":0}})", "processes"},
      {"{" + good + R"(,"limits":[]})", "'limits'"},
      {"{" + good + R"(,"python_paths":["x"]})", "python_paths"},
      {"{" + good + R"(,"network":1})", "network"},
      {"{" + good + R"(,"keep_descriptors":[-1]})", "keep_descriptors"},
      {"{" + good + R"(,"colour":"red"})", "colour"}};
  for (const auto& [text, named] : cases) {
    const auto spec = parse_sandbox_spec(text);
    ASSERT_FALSE(spec) << text;
    EXPECT_NE(spec.error().message.find(named), std::string::npos) << text << " gave " << spec.error().message;
  }
}

}  // namespace
}  // namespace fused
