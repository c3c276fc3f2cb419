#include "storage/path_resolver.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "storage/test_folder.hpp"
#include "storage/text.hpp"

namespace fused {
namespace {

using namespace std::string_literals;

struct Resolver : testing::Test {
  TestFolder outer;
  WriteGate gate;
  std::filesystem::path root = outer / "root";
  Resolver() {
    std::filesystem::create_directory(root);
    put_file(outer / "secret", "planted");
  }
  PathResolver files = *PathResolver::open((std::filesystem::create_directory(root), root));
};

TEST_F(Resolver, refuses_every_malformed_path_and_names_it) {
  const std::vector<std::string> refused{"",
                                         ".",
                                         "..",
                                         "/",
                                         "/etc/passwd",
                                         "../secret",
                                         "a/../../secret",
                                         "a/..",
                                         "./a",
                                         "a//b",
                                         "a/",
                                         "a\\..\\b",
                                         "..\\secret",
                                         "nul\0byte"s,
                                         "line\nbreak",
                                         "\x7f",
                                         "c1\xc2\x85",
                                         "\xff\xfe",
                                         "\xc0\xae\xc0\xae/secret",
                                         "a/\xed\xa0\x80",
                                         std::string(256, 'a'),
                                         "a/" + std::string(300, 'b'),
                                         std::string(5'000, 'a')};
  for (const auto& path : refused) {
    const auto file = files.open_file(path, O_RDONLY);
    ASSERT_FALSE(file) << shown(path);
    EXPECT_EQ(file.error().kind, ErrorKind::invalid_argument) << shown(path);
    EXPECT_FALSE(has_control(file.error().message)) << shown(path);
    EXPECT_FALSE(files.make_folders(gate, path)) << shown(path);
    EXPECT_FALSE(files.remove(gate, path)) << shown(path);
    EXPECT_FALSE(files.beneath(path)) << shown(path);
  }
  EXPECT_EQ(file_text(outer / "secret"), "planted");
}

TEST_F(Resolver, accepts_what_looks_odd_but_is_one_name) {
  const std::vector<std::string> accepted{
      "...", "..a", "a b", "ü@example.org", "名前", "%2e%2e", std::string(255, 'a')};
  for (const auto& path : accepted) EXPECT_TRUE(files.open_file(path, O_RDWR | O_CREAT)) << path;
}

TEST_F(Resolver, no_symbolic_link_leads_out) {
  std::filesystem::create_symlink("../secret", root / "up");
  std::filesystem::create_symlink(outer / "secret", root / "absolute");
  std::filesystem::create_directory_symlink("..", root / "folder");
  std::filesystem::create_symlink("/proc/self/root", root / "magic");
  for (const std::string path : {"up", "absolute", "folder/secret", "magic/etc/passwd"}) {
    const auto file = files.open_file(path, O_RDONLY);
    ASSERT_FALSE(file) << path;
    EXPECT_EQ(file.error().kind, ErrorKind::invalid_argument) << path << ": " << file.error().message;
  }
  EXPECT_FALSE(files.make_folders(gate, "folder/new"));
  EXPECT_FALSE(std::filesystem::exists(outer / "new"));
  EXPECT_FALSE(files.remove(gate, "folder/secret"));
  EXPECT_EQ(file_text(outer / "secret"), "planted");
}

TEST_F(Resolver, a_link_that_stays_beneath_is_followed) {
  put_file(root / "data", "here");
  std::filesystem::create_symlink("data", root / "link");
  EXPECT_EQ(files.read("link", 100), "here");
}

TEST_F(Resolver, makes_reads_lists_and_removes) {
  ASSERT_TRUE(files.make_folders(gate, "a/b/c"));
  ASSERT_TRUE(files.make_folders(gate, "a/b/c"));
  put_file(root / "a/b/c/file", "12345");
  EXPECT_EQ(files.read("a/b/c/file", 5), "12345");
  EXPECT_EQ(files.read("a/b/c/file", 4).error().kind, ErrorKind::too_large);
  EXPECT_EQ(files.read("a/b/none", 4).error().kind, ErrorKind::not_found);
  const auto names = files.list("a/b");
  ASSERT_TRUE(names) << names.error().message;
  EXPECT_EQ(*names, std::vector<std::string>{"c"});
  EXPECT_EQ(files.remove(gate, "a/b/c/file"), true);
  EXPECT_EQ(files.remove(gate, "a/b/c/file"), false);
  EXPECT_EQ(files.remove(gate, "a/b/c"), true);
  EXPECT_EQ(files.list("a/b")->size(), 0u);
}

TEST(Shown, hides_control_characters_and_cuts) {
  EXPECT_EQ(shown("a\nb\x1b[31m"), "a\\x0ab\\x1b[31m");
  EXPECT_EQ(shown("größe"), "größe");
  EXPECT_EQ(shown("\xff"), "\\xff");
  EXPECT_EQ(shown(std::string(300, 'x')), std::string(80, 'x') + "… (300 bytes)");
}

TEST(Text, takes_code_points_off_the_front_and_stops_at_what_is_none) {
  std::string_view text = "aé€😀";
  for (const char32_t point : {U'a', U'é', U'€', U'😀'}) EXPECT_EQ(next_code_point(text), point);
  EXPECT_EQ(next_code_point(text), std::nullopt);
  for (const std::string bad : {"\x80", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                                "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80"}) {
    std::string_view rest = bad;
    EXPECT_EQ(next_code_point(rest), std::nullopt) << shown(bad);
  }
}

}  // namespace
}  // namespace fused
