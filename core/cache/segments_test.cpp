#include "cache/segments.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cache/cache_test_entry.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

class SegmentsTest : public ::testing::Test {
 protected:
  void SetUp() override { spdlog::set_level(spdlog::level::off); }
  std::unique_ptr<SegmentStore> open() {
    auto store = SegmentStore::open(options, clock);
    EXPECT_TRUE(store) << store.error().message;
    return *std::move(store);
  }
  std::vector<std::filesystem::path> files(const std::string& below) const {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(options.folder / below))
      if (entry.is_regular_file()) found.push_back(entry.path());
    std::ranges::sort(found);
    return found;
  }
  static std::string body_of(SegmentStore& store, const CacheKey& key) {
    const auto entry = store.load(key.digest);
    return entry ? std::string(entry->body.view) : "(missing)";
  }

  TestFolder folder;
  SettableClock clock;
  SegmentOptions options{.folder = folder / "cache", .free_bytes_min = 0};
};

TEST_F(SegmentsTest, AnEntryComesBackWithAllThatItHad) {
  const auto store = open();
  const auto put = test_entry(test_key("i3"), "[1]");
  ASSERT_TRUE(store->append(*put));
  const auto lookup = store->find(put->key.digest);
  ASSERT_EQ(lookup.answer, SegmentStore::Answer::here);
  const CacheEntry& got = *lookup.entry;
  EXPECT_EQ(got.body.view, "[1]");
  EXPECT_EQ(got.etag, put->etag);
  EXPECT_EQ(got.metadata, put->metadata);
  EXPECT_EQ(got.headers, put->headers);
  EXPECT_EQ(got.functions, put->functions);
  EXPECT_EQ(got.files, put->files);
  EXPECT_EQ(got.key.parts, put->key.parts);
  EXPECT_EQ(got.key.parameters, put->key.parameters);
  EXPECT_EQ(got.run_id, put->run_id);
  EXPECT_EQ(got.created_ms, put->created_ms);
  EXPECT_EQ(store->find(test_key("i4").digest).answer, SegmentStore::Answer::missing);
}

TEST_F(SegmentsTest, LargeBodiesAreFilesAndSurviveTheStart) {
  const std::string large(300'000, 'x');
  {
    const auto store = open();
    ASSERT_TRUE(store->append(*test_entry(test_key("i1"), large)));
    ASSERT_TRUE(store->append(*test_entry(test_key("i2"), "small")));
    EXPECT_EQ(store->find(test_key("i1").digest).answer, SegmentStore::Answer::in_file);
    EXPECT_EQ(body_of(*store, test_key("i1")), large);
    store->close();
  }
  EXPECT_EQ(files("large").size(), 1u);
  put_file(options.folder / "large" / files("large")[0].parent_path().filename() / "00000000000000ff", "orphan");
  const auto again = open();
  EXPECT_EQ(body_of(*again, test_key("i1")), large);
  EXPECT_EQ(body_of(*again, test_key("i2")), "small");
  EXPECT_EQ(files("large").size(), 1u) << "a body without record goes at the start";
}

TEST_F(SegmentsTest, WithoutItsTableASegmentIsWalked) {
  {
    const auto store = open();
    for (int i = 0; i < 100; ++i)
      ASSERT_TRUE(store->append(*test_entry(test_key("i" + std::to_string(i)), std::string(i, 'a'))));
  }  // not closed: as after kill -9
  {
    const auto again = open();
    EXPECT_EQ(again->figures().entries, 100u);
    EXPECT_EQ(body_of(*again, test_key("i99")), std::string(99, 'a'));
  }
  EXPECT_EQ(open()->figures().entries, 100u) << "now by its table";
}

TEST_F(SegmentsTest, OfTwoEntriesOfAKeyTheLaterCountsAlsoAfterTheStart) {
  {
    const auto store = open();
    for (const char* body : {"old", "new"}) ASSERT_TRUE(store->append(*test_entry(test_key("i1"), body)));
    EXPECT_EQ(body_of(*store, test_key("i1")), "new");
  }
  EXPECT_EQ(body_of(*open(), test_key("i1")), "new");
}

TEST_F(SegmentsTest, ForgottenFunctionsTilesAndKeysStayForgotten) {
  const auto tile = [](const std::string& at) { return test_key("i1", "tiles", at); };
  {
    const auto store = open();
    for (const auto& key : {tile("1/0/0"), tile("1/0/1"), test_key("i1"), test_key("i2"), test_key("i1", "other")})
      ASSERT_TRUE(store->append(*test_entry(key, "x")));
    store->index().hide_group(tile("1/0/0").tile_group);
    EXPECT_EQ(body_of(*store, tile("1/0/0")), "(missing)");
    ASSERT_TRUE(store->mark_group(tile("1/0/0").tile_group));
    ASSERT_TRUE(store->mark_group(test_key("i1", "other").group));
    ASSERT_TRUE(store->mark_key(test_key("i2").digest));
    ASSERT_TRUE(store->append(*test_entry(test_key("i3", "other"), "later")));
  }
  for (int start = 0; start < 2; ++start) {
    const auto store = open();
    EXPECT_EQ(body_of(*store, tile("1/0/0")), "(missing)");
    EXPECT_EQ(body_of(*store, tile("1/0/1")), "x");
    EXPECT_EQ(body_of(*store, test_key("i1")), "x");
    EXPECT_EQ(body_of(*store, test_key("i2")), "(missing)");
    EXPECT_EQ(body_of(*store, test_key("i1", "other")), "(missing)");
    EXPECT_EQ(body_of(*store, test_key("i3", "other")), "later");
    store->close();
  }
}

// Of two entries; damage_test.cpp has a hundred.
TEST_F(SegmentsTest, AnEntryCutAtAnyLengthIsAMissOrWhole) {
  {
    const auto store = open();
    ASSERT_TRUE(store->append(*test_entry(test_key("i1"), "first")));
    ASSERT_TRUE(store->append(*test_entry(test_key("i2"), "second")));
  }
  const auto path = files("segments").at(0);
  const std::string whole = file_text(path);
  int whole_first = 0;
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    std::filesystem::remove_all(options.folder / "segments");
    std::filesystem::create_directory(options.folder / "segments");
    put_file(path, whole.substr(0, length));
    const auto store = open();
    const std::string first = body_of(*store, test_key("i1")), second = body_of(*store, test_key("i2"));
    EXPECT_TRUE(first == "first" || first == "(missing)") << length;
    EXPECT_TRUE(second == "second" || second == "(missing)") << length;
    whole_first += first == "first";
  }
  EXPECT_GT(whole_first, 0);
  EXPECT_LT(whole_first, static_cast<int>(whole.size()));
}

TEST_F(SegmentsTest, ALargeBodyWithAnyByteOfItsHeadChangedIsAMiss) {
  const std::string large(70'000, 'y');
  {
    const auto store = open();
    ASSERT_TRUE(store->append(*test_entry(test_key("i1"), large)));
    store->close();
  }
  const auto path = files("large").at(0);
  const std::string whole = file_text(path);
  for (const std::size_t at : {0u, 9u, 17u, 50u, 63u, 64u, 40'000u, 70'063u}) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    put_file(path, damaged);
    EXPECT_EQ(body_of(*open(), test_key("i1")), "(missing)") << at;
  }
  put_file(path, whole.substr(0, whole.size() - 1));
  EXPECT_EQ(body_of(*open(), test_key("i1")), "(missing)");
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/etc/passwd", path);
  EXPECT_EQ(body_of(*open(), test_key("i1")), "(missing)");
}

// threats-and-faults.md T8 (b): bytes of one key put where another key's record lies.
TEST_F(SegmentsTest, AnEntryCopiedToAnotherKeyIsRefused) {
  std::string segment;
  {
    const auto store = open();
    ASSERT_TRUE(store->append(*test_entry(test_key("i1", "of a"), "secret of a")));
    ASSERT_TRUE(store->append(*test_entry(test_key("i1", "of b"), "secret of b")));
    store->close();
    const auto row_a = store->index().row(test_key("i1", "of a").digest);
    const auto row_b = store->index().row(test_key("i1", "of b").digest);
    ASSERT_TRUE(row_a && row_b && row_a->record_bytes == row_b->record_bytes);
    segment = file_text(files("segments")[0]);
    segment.replace(row_b->position.offset, row_b->record_bytes, segment, row_a->position.offset, row_a->record_bytes);
  }
  put_file(files("segments")[0], segment);
  const auto store = open();
  EXPECT_EQ(body_of(*store, test_key("i1", "of b")), "(missing)");
  EXPECT_EQ(body_of(*store, test_key("i1", "of a")), "secret of a");
  EXPECT_EQ(store->figures().damaged, 1u);
}

TEST_F(SegmentsTest, TheLeastValuableGoFirst) {
  options.segment_bytes = 64 << 10;
  options.bytes_max = 512 << 10;
  const auto store = open();
  for (int i = 0; i < 400; ++i) {
    const auto key = test_key("i" + std::to_string(i));
    ASSERT_TRUE(store->append(*test_entry(key, std::string(4'000, 'a'), i % 10 == 0 ? 100 : 0.001)));
    while (*store->tidy()) {
    }
    EXPECT_LE(store->figures().bytes, static_cast<std::uint64_t>(options.bytes_max) + options.segment_bytes);
  }
  int dear = 0, cheap = 0;
  for (int i = 0; i < 400; ++i)
    (i % 10 == 0 ? dear : cheap) += body_of(*store, test_key("i" + std::to_string(i))) != "(missing)";
  EXPECT_GT(dear, 30) << "of 40";
  EXPECT_LT(cheap, 110) << "of 360";
  EXPECT_GT(store->figures().evicted, 0u);
  const auto entries = store->figures().entries;
  store->close();
  EXPECT_EQ(open()->figures().entries, entries) << "what has gone does not come back";
}

TEST_F(SegmentsTest, ReplacedEntriesGiveTheirRoomBackAndMarksMoveAlong) {
  options.segment_bytes = 32 << 10;
  {
    const auto store = open();
    ASSERT_TRUE(store->append(*test_entry(test_key("i1", "gone"), "x")));
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(store->append(*test_entry(test_key("keep" + std::to_string(i)), "kept")));
    ASSERT_TRUE(
        store->append(*test_entry(test_key("big"), std::string(30'000, 'a'))));  // the marks' segment is the 2nd
    store->index().hide_group(test_key("i1", "gone").group);
    ASSERT_TRUE(store->mark_group(test_key("i1", "gone").group));
    for (int i = 0; i < 30; ++i) {
      ASSERT_TRUE(store->append(*test_entry(test_key("same"), std::string(9'000, static_cast<char>('a' + i % 26)))));
      while (*store->tidy()) {
      }
    }
    EXPECT_GT(store->figures().compacted, 5u);
    EXPECT_LT(store->figures().bytes, 200'000u);
  }
  const auto store = open();
  EXPECT_EQ(body_of(*store, test_key("i1", "gone")), "(missing)");
  for (int i = 0; i < 20; ++i) EXPECT_EQ(body_of(*store, test_key("keep" + std::to_string(i))), "kept");
  EXPECT_EQ(body_of(*store, test_key("same")), std::string(9'000, static_cast<char>('a' + 29 % 26)));
}

TEST_F(SegmentsTest, CompactionKeepsLargeBodies) {
  options.segment_bytes = 16 << 10;
  const std::string large(100'000, 'z');
  const auto store = open();
  ASSERT_TRUE(store->append(*test_entry(test_key("large"), large)));
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(store->append(*test_entry(test_key("same"), std::string(60'000, 'b'))));
  for (int i = 0; i < 100 && *store->tidy(); ++i) {
  }
  EXPECT_EQ(body_of(*store, test_key("large")), large);
  EXPECT_EQ(files("large").size(), 1u);
}

TEST_F(SegmentsTest, KilledAtAnyWriteNothingWrongIsFound) {
  for (int round = 0; round < 25; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto store = SegmentStore::open(options, clock);
      if (!store) ::_exit(1);
      for (int i = 0;; ++i) {
        const std::string n = std::to_string(i % 50);
        (void)(*store)->append(*test_entry(test_key(n), "body of " + n + std::string(i % 3 ? 10 : 90'000, 'q')));
        if (i % 20 == 19) (void)(*store)->tidy();
      }
    }
    ::usleep(static_cast<useconds_t>(3'000 + round * 700));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const auto store = open();
    for (int i = 0; i < 50; ++i) {
      const std::string n = std::to_string(i), body = body_of(*store, test_key(n));
      EXPECT_TRUE(body == "(missing)" || body.starts_with("body of " + n + "q")) << body.substr(0, 40);
    }
  }
}

TEST_F(SegmentsTest, AFolderThatCannotBeUsedIsSaid) {
  put_file(folder / "file", "x");
  options.folder = folder / "file";
  EXPECT_FALSE(SegmentStore::open(options, clock));
  std::filesystem::create_directory(folder / "elsewhere");
  std::filesystem::create_directory_symlink(folder / "elsewhere", folder / "link");
  options.folder = folder / "link";
  const auto linked = SegmentStore::open(options, clock);
  ASSERT_FALSE(linked);
  EXPECT_NE(linked.error().message.find("a link"), std::string::npos);
}

TEST_F(SegmentsTest, ASegmentOfAnotherVersionIsLeftAlone) {
  {
    const auto store = open();
    ASSERT_TRUE(store->append(*test_entry(test_key("i1"), "x")));
    store->close();
  }
  const auto path = files("segments")[0];
  std::string text = file_text(path);
  text[7] = '2';
  put_file(path, text);
  EXPECT_EQ(body_of(*open(), test_key("i1")), "(missing)");
  EXPECT_EQ(file_text(path), text);
}

}  // namespace
}  // namespace fused
