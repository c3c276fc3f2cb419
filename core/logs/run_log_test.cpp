#include "logs/run_log.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <thread>

#include "logs/run_log_fixture.hpp"

namespace fused::logs_test {

using RunFolder = RunLogTest;

TEST_F(RunFolder, HoldsTheFourFilesOfTheSeedWithTheirKeys) {
  open(options());
  RunRecord run = record("abc123");
  run.stdout_text = "hello\n";
  run.headers_json = std::make_shared<const std::string>(R"([{"module_name":"m","source_code":"x = 1"}])");
  append(run);
  wait();
  EXPECT_EQ(RunLog::folder_of(run), "/mount/fused-system/logs/2026-11-21/1015/user@example.com/abc123");
  const auto at = folder(run);
  EXPECT_EQ(read_file(at / "stdout.log"), "hello\n");
  EXPECT_EQ(read_file(at / "stderr.log"), "");
  EXPECT_TRUE(fs::exists(at / "stderr.log"));
  const auto udf = boost::json::parse(read_file(at / "udf.json"));
  EXPECT_EQ(udf.at("code").as_string(), *run.code);
  EXPECT_EQ(udf.at("headers").at(0).at("module_name").as_string(), "m");
  const auto meta = boost::json::parse(read_file(at / "metadata.json"));
  EXPECT_EQ(meta.at("user_email").as_string(), "user@example.com");
  EXPECT_EQ(meta.at("udf_name").as_string(), "cities");
  EXPECT_EQ(meta.at("collection_name").as_string(), "default");
  EXPECT_DOUBLE_EQ(meta.at("execution_time_seconds").as_double(), 0.25);
  EXPECT_EQ(meta.at("parameters").at("n").as_int64(), 3);
  EXPECT_EQ(meta.at("outcome").as_string(), "ok");
  EXPECT_EQ(meta.at("started_at").as_string(), "2026-11-21T10:15:30.000000Z");
  EXPECT_TRUE(meta.at("error_class").is_null());
  EXPECT_EQ(std::distance(fs::directory_iterator(at), fs::directory_iterator()), 4);
  struct stat info{};
  for (const char* file : {"metadata.json", "udf.json", "stdout.log", "stderr.log"}) {
    ASSERT_EQ(::stat((at / file).c_str(), &info), 0);
    EXPECT_TRUE(info.st_mode & S_IROTH) << file;
  }
}

TEST_F(RunFolder, OfAFailedRunHoldsItsErrorAndItsOutput) {
  open(options());
  RunRecord run = record("failed");
  run.outcome = "user_error";
  run.error_class = "ValueError";
  run.error_message = "bad \x1b[31m \xC2\x9B \xE2\x80\xA8 \xff value\n";
  run.stderr_text = "Traceback …";
  run.execution_time_seconds = std::numeric_limits<double>::quiet_NaN();
  append(run);
  wait();
  const std::string text = read_file(folder(run) / "metadata.json");
  EXPECT_EQ(read_file(folder(run) / "stderr.log"), "Traceback …");
  const auto meta = boost::json::parse(text);
  EXPECT_EQ(meta.at("error_class").as_string(), "ValueError");
  EXPECT_EQ(meta.at("error_message").as_string(), "bad \x1b[31m \xC2\x9B \xE2\x80\xA8 \xEF\xBF\xBD value\n");
  EXPECT_TRUE(meta.at("execution_time_seconds").is_number()) << "never null";
  for (const char* control : {"\x1b", "\xC2\x9B", "\xE2\x80\xA8"}) EXPECT_EQ(text.find(control), std::string::npos);
}

TEST_F(RunFolder, AppearsWholeWhileOthersList) {
  open(options());
  std::atomic<bool> stop = false;
  std::atomic<int> seen = 0, partial = 0;
  std::thread reader([&] {
    while (!stop) {
      for (const auto& found : folders()) {
        ++seen;
        for (const char* file : {"metadata.json", "udf.json", "stdout.log", "stderr.log"})
          if (!fs::exists(found / file)) ++partial;
      }
    }
  });
  for (int number = 0; number < 300; ++number) append(record("run" + std::to_string(number)));
  wait();
  stop = true;
  reader.join();
  EXPECT_GT(seen, 0);
  EXPECT_EQ(partial, 0);
}

TEST_F(RunFolder, OfTheSameRequestIdIsNeverOverwritten) {
  open(options());
  RunRecord first = record("same"), second = record("same");
  first.stdout_text = "first";
  second.stdout_text = "second";
  second.execution_time_seconds = 0.5;
  append(first);
  append(second);
  wait();
  EXPECT_EQ(read_file(folder(first) / "stdout.log"), "first");
  EXPECT_EQ(read_file(folder(first).string() + ".2/stdout.log"), "second");
}

TEST_F(RunFolder, LiesUnderTheMinuteInWhichTheRunBegan) {
  clock.wall_us = (1'795'305'600LL - 1) * 1'000'000;  // a second before midnight
  open(options());
  const RunRecord before = record("before"), also = record("also");
  clock.move(seconds(2));
  const RunRecord after = record("after");
  for (const auto& run : {before, also, after}) append(run);
  wait();
  EXPECT_EQ(folder(before).parent_path(), folder(also).parent_path());
  EXPECT_NE(folder(before).string().find("/2026-11-21/2359/"), std::string::npos);
  EXPECT_NE(folder(after).string().find("/2026-11-22/0000/"), std::string::npos);
  EXPECT_EQ(folders().size(), 3u);
}

TEST_F(RunFolder, HasOneLevelForTheEmailWhateverItHolds) {
  open(options());
  const std::vector<std::string> odd = {"../../etc",
                                        "a/b@c",
                                        "",
                                        ".",
                                        "..",
                                        ".hidden@x",
                                        "ü@ex.ample",
                                        std::string("n\0l", 3),
                                        std::string(300, 'x') + "@long",
                                        std::string(300, 'x') + "@other",
                                        "a b\n@c",
                                        "100%",
                                        "plus+tag@x-y_z.de",
                                        "~root",
                                        "%2E"};
  for (std::size_t at = 0; at < odd.size(); ++at) {
    RunRecord run = record("id" + std::to_string(at));
    run.user_email = odd[at];
    append(run);
  }
  wait();
  std::set<std::string> segments;
  for (const auto& found : folders()) {
    const std::string path = "/" + fs::relative(found, root).string();
    std::vector<std::string> parts;
    std::stringstream text(path);
    for (std::string part; std::getline(text, part, '/');) parts.push_back(part);
    ASSERT_EQ(parts.size(), 8u) << path;  // the seed's x.split("/")[6] and [7]
    segments.insert(parts[6]);
    const auto meta = boost::json::parse(read_file(found / "metadata.json"));
    EXPECT_EQ(path_segment(odd[std::stoul(parts[7].substr(2))]), parts[6]);
  }
  EXPECT_EQ(segments.size(), odd.size()) << "no two e-mails meet in one folder";
  EXPECT_TRUE(segments.contains("plus+tag@x-y_z.de"));
  EXPECT_TRUE(segments.contains("%2E."));
}

TEST_F(RunFolder, SaysWhenParametersAreLeftOut) {
  open(options());
  RunRecord run = record("big");
  run.parameters_json = R"({"text":")" + std::string(kLoggedParametersBytesMax, 'x') + "\"}";
  append(run);
  RunRecord broken = record("broken");
  broken.parameters_json = "{not json";
  append(broken);
  wait();
  const auto meta = boost::json::parse(read_file(folder(run) / "metadata.json"));
  EXPECT_TRUE(meta.at("parameters").is_null());
  EXPECT_EQ(meta.at("parameters_note").as_string(), "left out: 65,547 bytes; up to 65,536 are kept");
  EXPECT_EQ(boost::json::parse(read_file(folder(broken) / "metadata.json")).at("parameters").as_string(), "{not json");
}

TEST_F(RunFolder, HoldsWhatAReplayComparesWith) {
  open(options());
  RunRecord run = record("whole");
  run.result_sha256 = std::string(64, 'a');
  run.tile = "3/4/2";
  run.environment = std::string(64, 'e');
  run.files_json = R"([{"path":"/mount/x","size":-1,"mtime_ns":"0"}])";
  append(run);
  RunRecord many = record("many");
  many.files_json = "[\"" + std::string(kLoggedFilesBytesMax, 'x') + "\"]";
  append(many);
  append(record("plain"));
  wait();
  const auto meta = boost::json::parse(read_file(folder(run) / "metadata.json"));
  EXPECT_EQ(meta.at("result_sha256").as_string(), run.result_sha256);
  EXPECT_EQ(meta.at("tile").as_string(), "3/4/2");
  EXPECT_EQ(meta.at("environment").as_string(), run.environment);
  EXPECT_EQ(meta.at("files").at(0).at("size").as_int64(), -1);
  for (const auto& without : {record("many"), record("plain")}) {
    const auto bare = boost::json::parse(read_file(folder(without) / "metadata.json"));
    EXPECT_FALSE(bare.as_object().contains("files"));
    for (const char* name : {"result_sha256", "tile", "environment"}) EXPECT_TRUE(bare.at(name).is_null()) << name;
  }
}

TEST_F(RunFolder, SharesEqualCodeAndRenewsTheSharedFileBeforeItsLinksRunOut) {
  auto chosen = options();
  chosen.shared.links_max = 10;
  open(chosen);
  for (int number = 0; number < 35; ++number) append(record("run" + std::to_string(number)));
  wait();
  std::map<ino_t, int> inodes;
  for (const auto& found : folders()) {
    struct stat info{};
    ASSERT_EQ(::stat((found / "udf.json").c_str(), &info), 0);
    ++inodes[info.st_ino];
    EXPECT_EQ(boost::json::parse(read_file(found / "udf.json")).at("code").as_string(), *record("x").code);
  }
  EXPECT_EQ(inodes.size(), 4u);
  for (const auto& [inode, count] : inodes) EXPECT_LE(count, 10);
}

TEST_F(RunFolder, GetsCleanSharedFilesAfterSomebodyChangedThem) {
  open(options());
  append(record("one"));
  wait();
  const auto shared = folder(record("one")) / "stderr.log";
  ::chmod(shared.c_str(), 0644);
  std::ofstream(shared) << "forged";
  append(record("two"));
  wait();
  EXPECT_EQ(read_file(folder(record("two")) / "stderr.log"), "");
}

TEST_F(RunFolder, IsMadeAgainWhereSomebodyRemovedTheTreeOrPutALinkInItsPlace) {
  open(options());
  append(record("one"));
  wait();
  fs::remove_all(logs());
  append(record("two"));
  wait();
  EXPECT_TRUE(fs::exists(folder(record("two")) / "metadata.json"));
  const auto elsewhere = root / "elsewhere";
  fs::create_directories(elsewhere);
  clock.move(hours(24));
  fs::create_directory_symlink(elsewhere, logs() / "2026-11-22");
  append(record("three"));
  wait();
  EXPECT_TRUE(fs::is_empty(elsewhere)) << "a link that a function planted is not followed";
  EXPECT_TRUE(fs::exists(folder(record("three")) / "metadata.json"));
  EXPECT_EQ(log->metrics().folders_given_up, 0u);
}

TEST_F(RunFolder, IsThereWithinASecondOfTheAppend) {
  auto chosen = options();
  chosen.gather = RunLogOptions().gather;
  open(chosen);
  wait();
  for (int round = 0; round < 5; ++round) {
    const RunRecord run = record("run" + std::to_string(round));
    const auto begin = std::chrono::steady_clock::now();
    append(run);
    while (!fs::exists(folder(run) / "metadata.json")) {
      ASSERT_LT(std::chrono::steady_clock::now() - begin, seconds(1));
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
}

TEST_F(RunFolder, StaysWhenTheLogIsClosedAndTheJournalIsEmptyThen) {
  open(options());
  for (int number = 0; number < 100; ++number) append(record("run" + std::to_string(number)));
  log->close();
  EXPECT_EQ(folders().size(), 100u);
  for (const auto& entry : fs::directory_iterator(root / "journal"))
    EXPECT_NE(entry.path().extension(), ".journal") << entry.path();
}

using Backlog = RunLogTest;

TEST_F(Backlog, SlowsTheCallerForABoundedTimeAndDropsNothing) {
  auto chosen = options();
  chosen.backlog_records_max = 4;
  chosen.block_max = milliseconds(5);
  chosen.gather = milliseconds(2);
  open(chosen);
  int slow = 0;
  for (int number = 0; number < 200; ++number) {
    const auto begin = std::chrono::steady_clock::now();
    append(record("run" + std::to_string(number)));
    if (std::chrono::steady_clock::now() - begin > milliseconds(500)) ++slow;
  }
  wait();
  const auto metrics = log->metrics();
  EXPECT_EQ(folders().size(), 200u);
  EXPECT_GT(metrics.waits, 0u);
  EXPECT_LT(slow, 5) << "5 ms each, but for a disk that stalls";
  EXPECT_EQ(metrics.folders_written, 200u);
  EXPECT_EQ(metrics.backlog_records, 0u);
  EXPECT_EQ(metrics.backlog_bytes, 0u);
  EXPECT_EQ(metrics.seconds_behind, 0);
  EXPECT_EQ(metrics.records_lost, 0u);
}

TEST_F(Backlog, SlowsNobodyWhileFoldersCannotBeMadeAnyway) {
  auto chosen = options();
  chosen.backlog_records_max = 2;
  chosen.block_max = seconds(1);
  chosen.retry_after = milliseconds(10);
  open(chosen);
  wait();
  fs::remove_all(root / "mount");
  std::ofstream(root / "mount") << "no folder";
  append(record("first"));
  while (log->metrics().errors == 0) std::this_thread::sleep_for(milliseconds(1));
  const auto begin = std::chrono::steady_clock::now();
  for (int number = 0; number < 50; ++number) append(record("run" + std::to_string(number)));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(45)) << "waiting would take 49 s";
  EXPECT_EQ(log->metrics().waits, 0u);
  fs::remove(root / "mount");
  fs::create_directories(root / "mount");
  wait();
  EXPECT_EQ(folders().size(), 51u);
}

TEST_F(Backlog, GrowsNoFurtherThanTheJournalMayAndSaysWhatIsLost) {
  auto chosen = options();
  chosen.journal_bytes_max = 20'000;
  chosen.block_max = milliseconds(0);
  open(chosen);
  wait();
  fs::remove_all(root / "mount");
  std::ofstream(root / "mount") << "no folder";  // nothing can be made now
  int lost = 0;
  for (int number = 0; number < 200; ++number) lost += log->append(record("run" + std::to_string(number))) ? 0 : 1;
  EXPECT_GT(lost, 0);
  EXPECT_LT(lost, 200);
  EXPECT_EQ(log->metrics().records_lost, static_cast<unsigned>(lost));
  EXPECT_LT(log->metrics().journal_bytes, 22'000u);
  fs::remove(root / "mount");
  fs::create_directories(root / "mount");
  wait();
  EXPECT_EQ(folders().size(), 200u - static_cast<unsigned>(lost)) << "it recovers without a restart";
  EXPECT_GT(log->metrics().errors, 0u);
  while (log->metrics().journal_bytes > 15'000) std::this_thread::sleep_for(milliseconds(1));  // until it has tidied up
  append(record("later"));
  wait();
  EXPECT_TRUE(fs::exists(folder(record("later"))));
}

}  // namespace fused::logs_test
