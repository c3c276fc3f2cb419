// What a killed server leaves is made into folders at the next start.
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <map>
#include <set>

#include "logs/journal.hpp"
#include "logs/run_log_fixture.hpp"

namespace fused::logs_test {

class Replay : public RunLogTest {
 protected:
  void SetUp() override {
    RunLogTest::SetUp();
    spdlog::set_level(spdlog::level::err);  // thousands of damaged journals follow
  }
  void TearDown() override {
    spdlog::set_level(spdlog::level::info);
    RunLogTest::TearDown();
  }
  fs::path segment() const {
    for (const auto& entry : fs::directory_iterator(root / "journal"))
      if (entry.path().extension() == ".journal") return entry.path();
    return {};
  }
  // A journal of `count` runs whose server died before any folder was made.
  void leave_journal(int count) {
    auto journal = Journal::open({root / "journal"});
    ASSERT_TRUE(journal);
    for (int number = 0; number < count; ++number)
      ASSERT_TRUE((*journal)->append(record("run" + std::to_string(number)), clock.now()));
  }
};

TEST_F(Replay, EveryAcknowledgedRunHasItsFolderAfterAKillInTheMiddle) {
  constexpr int kRounds = 20;
  int acknowledged_in_all = 0, made_by_replay = 0;
  for (int round = 0; round < kRounds; ++round) {
    int ledger[2];
    ASSERT_EQ(::pipe(ledger), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      auto opened = RunLog::open(options(), clock);
      if (!opened) ::_exit(3);
      for (int number = 0;; ++number) {
        const int id = round * 100'000 + number;
        if (!(*opened)->append(record("run" + std::to_string(id)))) ::_exit(4);
        if (::write(ledger[1], &id, sizeof id) != sizeof id) ::_exit(5);  // "the reply"
        ::usleep(100);
      }
    }
    ::close(ledger[1]);
    std::set<int> acknowledged;
    const int enough = 20 + round * 13;
    for (int id = 0; ::read(ledger[0], &id, sizeof id) == sizeof id;) {
      acknowledged.insert(id);
      if (acknowledged.size() == static_cast<std::size_t>(enough)) ::kill(child, SIGKILL);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ::close(ledger[0]);
    ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
    open(options());
    wait();
    for (const int id : acknowledged) {
      const auto at = folder(record("run" + std::to_string(id)));
      for (const char* file : {"metadata.json", "udf.json", "stdout.log", "stderr.log"})
        EXPECT_TRUE(fs::exists(at / file)) << at / file;
      EXPECT_FALSE(fs::exists(at.string() + ".2")) << "replay makes no second folder";
    }
    acknowledged_in_all += static_cast<int>(acknowledged.size());
    made_by_replay += static_cast<int>(log->metrics().folders_written);
    log.reset();
  }
  EXPECT_GT(made_by_replay, 0) << "the kill never hit the gap between reply and folder";
  std::printf("%d kills: %d acknowledged runs, all have their folder; %d of them by replay\n", kRounds,
              acknowledged_in_all, made_by_replay);
}

TEST_F(Replay, OfAJournalTornAtAnyByteGivesTheWholeRecordsBeforeIt) {
  leave_journal(3);
  const std::string whole = read_file(segment());
  const auto path = segment();
  std::vector<std::size_t> ends;  // of the frames
  {
    const JournalKey key = *decode_segment_head(whole);
    for (std::size_t at = kSegmentHeadBytes; at < whole.size();) {
      const auto frame = decode_frame(std::string_view(whole).substr(at), key);
      ASSERT_TRUE(frame);
      at += frame->size;
      if (frame->kind == JournalKind::run) ends.push_back(at);
    }
  }
  ASSERT_EQ(ends.size(), 3u);
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    std::ofstream(path, std::ios::trunc | std::ios::binary) << whole.substr(0, length);
    auto journal = Journal::open({root / "journal"});
    ASSERT_TRUE(journal);
    std::size_t count = 0;
    while ((*journal)->next()) ++count;
    const auto expected = std::count_if(ends.begin(), ends.end(), [&](std::size_t end) { return end <= length; });
    ASSERT_EQ(count, static_cast<std::size_t>(expected)) << "torn at byte " << length;
    for (const auto& entry : fs::directory_iterator(root / "journal")) fs::remove(entry.path());
  }
}

TEST_F(Replay, SkipsADamagedRecordAndGoesOnBehindIt) {
  leave_journal(5);
  const std::string whole = read_file(segment());
  const auto path = segment();
  const std::size_t victim = whole.find("run2");
  int read_in_all = 0;
  for (std::size_t at = victim - 26; at < victim + 60; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    std::ofstream(path, std::ios::trunc | std::ios::binary) << damaged;
    auto journal = Journal::open({root / "journal"});
    ASSERT_TRUE(journal);
    std::vector<std::string> ids;
    while (const auto entry = (*journal)->next()) ids.push_back(entry->run.record.request_id);
    EXPECT_EQ(ids, (std::vector<std::string>{"run0", "run1", "run3", "run4"})) << "byte " << at;
    EXPECT_EQ((*journal)->counts().damaged, 1u);
    read_in_all += static_cast<int>(ids.size());
    journal->reset();
    for (const auto& entry : fs::directory_iterator(root / "journal")) fs::remove(entry.path());
  }
  EXPECT_EQ(read_in_all, 86 * 4);
}

TEST_F(Replay, TakesNothingFromInsideOutputThatLooksLikeAJournal) {
  std::string forged;
  encode_run(forged, JournalKey{}, record("forged"), 0, clock.now());
  {
    auto journal = Journal::open({root / "journal"});
    RunRecord run = record("victim");
    run.stdout_text = forged + forged;
    ASSERT_TRUE((*journal)->append(run, clock.now()));
    ASSERT_TRUE((*journal)->append(record("next"), clock.now()));
  }
  std::string bytes = read_file(segment());
  bytes[bytes.find("victim")] = 'V';
  std::ofstream(segment(), std::ios::trunc | std::ios::binary) << bytes;
  open(options());
  wait();
  ASSERT_EQ(folders().size(), 1u);
  EXPECT_EQ(folders()[0].filename(), "next");
  EXPECT_EQ(log->metrics().journal_damaged, 1u);
}

TEST_F(Replay, IsIdempotentAndTellsTwoRunsOfOneIdApart) {
  {
    auto journal = Journal::open({root / "journal"});
    RunRecord first = record("same"), second = record("same");
    second.execution_time_seconds = 7;
    ASSERT_TRUE((*journal)->append(first, clock.now()));
    ASSERT_TRUE((*journal)->append(second, clock.now()));
  }
  const std::string bytes = read_file(segment());
  const auto path = segment();
  for (int round = 0; round < 3; ++round) {
    std::ofstream(path, std::ios::trunc | std::ios::binary) << bytes;
    open(options());
    wait();
    log.reset();
    EXPECT_EQ(folders().size(), 2u) << "round " << round;
    EXPECT_FALSE(fs::exists(path)) << "a finished segment goes";
  }
}

TEST_F(Replay, OfAFileThatIsNoJournalKeepsItAside) {
  fs::create_directories(root / "journal");
  std::ofstream(root / "journal/0000000001.journal") << std::string(100, 'z');
  std::ofstream(root / "journal/0000000002.journal") << "";  // a power cut before the first byte was on the disk
  open(options());
  append(record("one"));
  wait();
  EXPECT_TRUE(fs::exists(root / "journal/0000000001.journal.damaged"));
  EXPECT_TRUE(fs::exists(folder(record("one"))));
  EXPECT_EQ(log->metrics().journal_damaged, 1u);
}

TEST_F(Replay, CountsEachFolderOnceHoweverOftenTheServerDies) {
  for (int round = 0; round < 5; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto chosen = options();
      chosen.segment_bytes = 4'000;
      auto opened = RunLog::open(chosen, clock);
      for (int number = 0; opened && number < 30; ++number)
        (void)(*opened)->append(record(std::to_string(round) + "-" + std::to_string(number)));
      if (opened && round % 2) (*opened)->wait_until_written(seconds(10));
      if (opened && round == 3) ::usleep(50'000);  // time to save the counts
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
  }
  for (int round = 0; round < 3; ++round) {  // and however often it is closed
    open(options());
    append(record("closed" + std::to_string(round)));
    wait();
    EXPECT_EQ(folders().size(), 151u + static_cast<unsigned>(round));
    EXPECT_EQ(log->metrics().used.folders, 151 + round);
    EXPECT_EQ(log->metrics().used.inodes, 302 + 2 * round);
    log.reset();
  }
}

}  // namespace fused::logs_test
