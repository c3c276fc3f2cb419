#include "cache/entry_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "storage/test_folder.hpp"

namespace fused {
namespace {

using Kind = EntryError::Kind;

class EntryFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (std::size_t at = 0; at < 32; ++at) {
      key.bytes[at] = static_cast<unsigned char>(at);
      check_key[at] = static_cast<unsigned char>(at * 7 + 1);
    }
  }
  EntryFileHead sample(EntryCheck check) const {
    EntryFileHead head;
    head.check = check;
    head.writer = check == EntryCheck::xxh3 ? EntryWriter::result_cache : EntryWriter::function_cache;
    head.kind = 5;
    head.created_ns = 1'800'000'000'000'000'000;
    head.boot_ns = 12'345;
    head.boot_id.fill(9);
    head.max_age_s = 43'200;
    head.computing_ns = 777;
    head.key = key;
    return head;
  }
  EntryResult<void> put(EntryCheck check, std::string_view note, std::vector<std::string_view> body) {
    EntryWriting to;
    to.path = path;
    to.draft = path + ".draft";
    to.check_key = &check_key;
    return write_entry_file(to, sample(check), note, body);
  }
  EntryResult<EntryFile> get(std::size_t read_whole_max = kEntryReadWholeMax, EntryCheck check = EntryCheck::blake3) {
    EntryReading how;
    how.check = check;
    how.key = &key;
    how.check_key = &check_key;
    how.read_whole_max = read_whole_max;
    return read_entry_file(path, how);
  }
  Kind why(const EntryResult<EntryFile>& found) { return found ? Kind::system : found.error().kind; }

  TestFolder folder;
  std::string path = (folder / "data_x").string();
  Digest key;
  CheckKey check_key{};
};

TEST_F(EntryFileTest, WhatWasWrittenComesBackUnderBothChecksReadAndMapped) {
  for (const auto check : {EntryCheck::blake3, EntryCheck::xxh3})
    for (const std::size_t whole_max : {std::size_t{0}, kEntryReadWholeMax})
      for (const std::string body : {"", "a", "the body"}) {
        ASSERT_TRUE(
            put(check, R"({"a":1})",
                {std::string_view(body).substr(0, body.size() / 2), std::string_view(body).substr(body.size() / 2)}));
        const auto found = get(whole_max, check);
        ASSERT_TRUE(found) << found.error().message;
        EntryFileHead expected = sample(check);
        expected.note_bytes = 7;
        expected.body_offset = 256;
        expected.body_bytes = body.size();
        expected.body_check = found->head.body_check;
        EXPECT_EQ(found->head, expected);
        EXPECT_EQ(found->note, R"({"a":1})");
        EXPECT_EQ(std::string_view(found->body.data(), found->body.size()), body);
        EXPECT_EQ(::access((path + ".draft").c_str(), F_OK), -1);
      }
}

TEST_F(EntryFileTest, TheLayoutIsTheOneThatIsDescribed) {
  ASSERT_TRUE(put(EntryCheck::blake3, "n", {"body"}));
  const std::string bytes = file_text(path);
  ASSERT_EQ(bytes.size(), 256u + 4);
  EXPECT_EQ(bytes.substr(0, 8), "FUSEDCE2");
  EXPECT_EQ(bytes.substr(8, 16), std::string("\1\0\0\0\1\0\0\0\5\0\0\0\1\0\0\0", 16));
  EXPECT_EQ(bytes[192], 'n');
  EXPECT_EQ(bytes.substr(256), "body");
  struct stat is{};
  ASSERT_EQ(::stat(path.c_str(), &is), 0);
  EXPECT_EQ(is.st_mode & 0777, 0600u);
}

TEST_F(EntryFileTest, BlakeIsTheOneThatPythonMakes) {
  // blake3(b"body", key=bytes((7 * i + 1) % 256 for i in range(32))).hexdigest()
  ASSERT_TRUE(put(EntryCheck::blake3, "", {"bo", "dy"}));
  const auto found = get();
  ASSERT_TRUE(found);
  Digest check;
  check.bytes = found->head.body_check;
  EXPECT_EQ(check.hex(), "1e7637f236b4522c8480201b82998629ae56cc9a45efdc16bacc210ee275dac5");
}

TEST_F(EntryFileTest, CutAtEveryLengthAndWithEveryBitFlippedItDoesNotPass) {
  for (const auto check : {EntryCheck::blake3, EntryCheck::xxh3}) {
    const std::size_t whole_max = check == EntryCheck::blake3 ? kEntryReadWholeMax : 0;  // read, and mapped
    ASSERT_TRUE(put(check, "a note", {"some body of an entry"}));
    const std::string whole = file_text(path);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      put_file(path, whole.substr(0, length));
      EXPECT_EQ(why(get(whole_max, check)), Kind::damaged) << length;
    }
    put_file(path, whole + '\0');
    EXPECT_EQ(why(get(whole_max, check)), Kind::damaged);
    for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
      std::string flipped = whole;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      put_file(path, flipped);
      EXPECT_EQ(why(get(whole_max, check)), Kind::damaged) << bit;
    }
    put_file(path, whole);
    EXPECT_TRUE(get(0, check));
  }
}

TEST_F(EntryFileTest, AnEntryOfAnotherKeyOrOwnerDoesNotPass) {
  ASSERT_TRUE(put(EntryCheck::blake3, "", {"body"}));
  key.bytes[3] ^= 1;
  EXPECT_EQ(get().error().message, "it was copied from another key");
  key.bytes[3] ^= 1;
  check_key[0] ^= 1;
  EXPECT_EQ(get().error().message, "its header is damaged, or somebody else's");
  EXPECT_EQ(why(read_entry_file(path, {})), Kind::damaged) << "without a key";
  EXPECT_EQ(why(get(0, EntryCheck::xxh3)), Kind::damaged) << "as one of the server's";
}

TEST_F(EntryFileTest, AnEntryThatSaysItHasTheServersCheckDoesNotPassAsAnOwners) {
  ASSERT_TRUE(put(EntryCheck::xxh3, "", {"planted by whoever may write here"}));
  EXPECT_EQ(why(get()), Kind::damaged);
  EXPECT_TRUE(get(0, EntryCheck::xxh3)) << "it is whole as the server's";
}

TEST_F(EntryFileTest, EntriesOfTheTwoFormatsBeforeAreOlderAndNotDamaged) {
  for (const std::string magic : {"FUSEDFC1", "FUSEDLB1"}) {
    put_file(path, magic + std::string(500, 'x'));
    EXPECT_EQ(why(get()), Kind::older);
    const auto found = look_at_entry_file(path);
    ASSERT_TRUE(found);
    EXPECT_FALSE(found->head);
    EXPECT_EQ(found->state.size, 508);
  }
}

TEST_F(EntryFileTest, NothingIsMissingAndWhatIsNoFileIsDamaged) {
  EXPECT_EQ(why(get()), Kind::missing);
  ASSERT_EQ(::symlink("/dev/zero", path.c_str()), 0);
  EXPECT_EQ(why(get()), Kind::damaged);
  ::unlink(path.c_str());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(why(get()), Kind::damaged);
  ::unlink(path.c_str());
  ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
  EXPECT_EQ(why(get()), Kind::damaged);
}

TEST_F(EntryFileTest, WritingToABodyChangesNeitherTheFileNorAnotherView) {
  for (const std::size_t whole_max : {std::size_t{0}, kEntryReadWholeMax}) {
    ASSERT_TRUE(put(EntryCheck::blake3, "", {"body"}));
    auto one = get(whole_max), other = get(whole_max);
    one->body[0] = 'X';
    EXPECT_EQ(other->body[0], 'b');
    EXPECT_EQ(get()->body[0], 'b');
  }
}

TEST_F(EntryFileTest, ALargeBodyIsWrittenAndCheckedOnceForAStateOfTheFile) {
  const std::string body(5 << 20, 'z');
  ASSERT_TRUE(put(EntryCheck::blake3, "n", {"a", body, "b"}));
  VerifiedFiles verified;
  EntryReading how;
  how.key = &key;
  how.check_key = &check_key;
  how.verified = &verified;
  const auto first = read_entry_file(path, how);
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->body.size(), body.size() + 2);
  EXPECT_EQ(first->body.front(), 'a');
  EXPECT_EQ(first->body.back(), 'b');
  while (!first->state.is_settled()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ASSERT_TRUE(read_entry_file(path, how));
  EXPECT_TRUE(verified.find(first->state));
  std::string changed = file_text(path);
  changed[1 << 20] = 'y';
  put_file(path, changed);
  EXPECT_EQ(why(read_entry_file(path, how)), Kind::damaged) << "it has another state";
}

// Writes into the file itself, as whoever may write its folder can, at any time.
void overwrite(const std::string& path, std::size_t at, std::string_view bytes) {
  const int file = ::open(path.c_str(), O_WRONLY);
  ASSERT_GE(file, 0);
  EXPECT_EQ(::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at)), static_cast<ssize_t>(bytes.size()));
  ::close(file);
}

TEST_F(EntryFileTest, WhatIsRunWhenItIsReadIsOutOfTheReachOfWhoChangesTheMappedFile) {
  const std::string body(3 << 20, 'b');
  ASSERT_TRUE(put(EntryCheck::blake3, "the note", {body}));
  VerifiedFiles verified;
  EntryReading how;
  how.key = &key;
  how.check_key = &check_key;
  how.verified = &verified;
  how.own_bytes = [](std::uint32_t kind, std::string_view) { return kind == 5 ? std::size_t{100'000} : 0; };
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // until the file's state is settled
  const auto found = read_entry_file(path, how);
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_TRUE(verified.find(found->state));
  overwrite(path, kEntryHeadBytes, "another!");
  overwrite(path, found->head.body_offset + 50'000, "evil");
  overwrite(path, found->head.body_offset + (2 << 20), "values");
  EXPECT_EQ(found->note, "the note");
  const std::string_view seen(found->body.data(), found->body.size());
  EXPECT_EQ(seen.substr(0, 100'000), std::string_view(body).substr(0, 100'000));
  EXPECT_NE(seen, body);  // what is data alone stays shared with the file: SECURITY.md says so
  EXPECT_EQ(why(read_entry_file(path, how)), Kind::damaged);
}

TEST_F(EntryFileTest, AFileThatWasSeenToPassIsStillCheckedWhereItsReaderRunsIt) {
  const std::string body(3 << 20, 'b');
  ASSERT_TRUE(put(EntryCheck::blake3, "", {body}));
  VerifiedFiles verified;
  EntryReading how;
  how.key = &key;
  how.check_key = &check_key;
  how.verified = &verified;
  how.own_bytes = [](std::uint32_t, std::string_view) { return std::size_t{100'000}; };
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto first = read_entry_file(path, how);
  ASSERT_TRUE(first);
  overwrite(path, first->head.body_offset + 50'000, "evil");
  // As if the file's times did not tell, which a mapping that another process still holds can bring about.
  struct stat about{};
  ASSERT_EQ(::stat(path.c_str(), &about), 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  verified.add(state_of(about), *verified.find(first->state));
  ASSERT_TRUE(verified.find(state_of(about)));
  EXPECT_EQ(why(read_entry_file(path, how)), Kind::damaged);
}

TEST_F(EntryFileTest, AWriteThatFailsLeavesNothing) {
  EntryWriting to;
  to.check_key = &check_key;
  to.path = (folder / "missing" / "data_x").string();
  const std::string_view body[] = {"body"};
  auto failed = write_entry_file(to, sample(EntryCheck::blake3), "", body);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().error_number, ENOENT);
  to.draft = (folder / "draft").string();
  failed = write_entry_file(to, sample(EntryCheck::blake3), "", body);
  EXPECT_EQ(failed.error().error_number, ENOENT);
  EXPECT_EQ(::access(to.draft.c_str(), F_OK), -1);
  EXPECT_EQ(put(EntryCheck::blake3, std::string(kEntryNoteBytesMax + 1, 'n'), {}).error().error_number, EFBIG);
}

TEST_F(EntryFileTest, AListingShowsHeadAndNoteAndChecksTheServersOwn) {
  ASSERT_TRUE(put(EntryCheck::blake3, "note", {"body"}));
  const auto found = look_at_entry_file(path);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->note, "note");
  EXPECT_EQ(found->head->max_age_s, 43'200u);
  ASSERT_TRUE(put(EntryCheck::xxh3, "note", {"body"}));
  EXPECT_TRUE(look_at_entry_file(path));
  std::string changed = file_text(path);
  changed[192] ^= 1;
  put_file(path, changed);
  EXPECT_FALSE(look_at_entry_file(path));
}

}  // namespace
}  // namespace fused
