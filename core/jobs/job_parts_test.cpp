// What a job keeps on disk, and what its tasks are told.
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/json/parse.hpp>

#include "base/ids.hpp"
#include "jobs/job_content.hpp"
#include "jobs/job_files.hpp"
#include "jobs/job_log.hpp"
#include "jobs/job_options.hpp"
#include "jobs/result_links.hpp"
#include "jobs/usage_lines.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

namespace asio = boost::asio;

std::vector<std::string> cut(const std::vector<std::string>& pieces) {
  LineCutter cutter;
  std::vector<std::string> lines;
  const auto take = [&](std::string_view line) { lines.emplace_back(line); };
  for (const std::string& piece : pieces) cutter.feed(piece, take);
  cutter.end(take);
  return lines;
}

TEST(LineCutter, WhatComesInPiecesIsLines) {
  EXPECT_EQ(cut({"a\nb", "c\n", "\nlast"}), (std::vector<std::string>{"a", "bc", "", "last"}));
  EXPECT_EQ(cut({}), std::vector<std::string>{});
}

TEST(LineCutter, ProgressBarsLeaveWhatATerminalShows) {
  EXPECT_EQ(cut({" 10%\r 20%\r100%\nover\r\n"}), (std::vector<std::string>{"100%", "over"}));
}

TEST(LineCutter, ALineWithoutEndIsCut) {
  const auto lines = cut({std::string(3 * JobLogs::kLineBytesMax + 5, 'x')});
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0].size(), JobLogs::kLineBytesMax);
  EXPECT_EQ(lines[3].size(), 5U);
}

struct Stopped : Clock {
  WallTime now() const override { return WallTime(std::chrono::milliseconds(ms)); }
  std::int64_t ms = 1'000'000;
};

class JobLogsTest : public ::testing::Test {
 protected:
  JobLogsTest() {
    std::filesystem::create_directory(folder_ / "job");
    logs_.emplace(io_, files_, clock_, folder_.path());
  }
  template <class T>
  T run(asio::awaitable<T> work) {
    std::optional<T> value;
    asio::co_spawn(io_, [&]() -> asio::awaitable<void> { value = co_await std::move(work); }, asio::detached);
    until([&] { return value.has_value(); });
    return *std::move(value);
  }
  void run(asio::awaitable<void> work) {
    bool over = false;
    asio::co_spawn(
        io_,
        [&]() -> asio::awaitable<void> {
          co_await std::move(work);
          over = true;
        },
        asio::detached);
    until([&] { return over; });
  }
  void until(const std::function<bool()>& done) {
    while (!done()) {
      io_.restart();
      io_.run_one_for(std::chrono::milliseconds(10));
    }
  }
  JobLogs::Part all() { return run(logs_->read("job", 0, 1 << 20)); }

  TestFolder folder_;
  asio::io_context io_{1};
  StateThread files_;
  Stopped clock_;
  std::optional<JobLogs> logs_;
};

TEST_F(JobLogsTest, LinesAreInTheFileWhenFlushed) {
  logs_->add("job", 3, "stdout", "one \"line\"");
  logs_->add("job", -1, "job", "two");
  run(logs_->flushed("job"));
  EXPECT_EQ(all().lines,
            "{\"timestamp\":1000000,\"task\":3,\"stream\":\"stdout\",\"message\":\"one \\\"line\\\"\"}\n"
            "{\"timestamp\":1000000,\"task\":-1,\"stream\":\"job\",\"message\":\"two\"}\n");
}

TEST_F(JobLogsTest, FlushedDoesNotWaitForLinesThatComeMeanwhile) {
  logs_->add("job", 0, "stdout", "first");
  logs_->add("job", 0, "stdout", "second");
  std::string seen;
  bool over = false;
  asio::co_spawn(
      io_,
      [&]() -> asio::awaitable<void> {
        co_await logs_->flushed("job");
        seen = (co_await logs_->read("job", 0, 1 << 20)).lines;
        over = true;
      },
      asio::detached);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  until([&] {
    logs_->add("job", 0, "stdout", "more");  // the file is always being written
    return over || std::chrono::steady_clock::now() > deadline;
  });
  EXPECT_TRUE(over);
  EXPECT_NE(seen.find("second"), std::string::npos);
  run(logs_->flushed("job"));
}

TEST_F(JobLogsTest, TheClockMayJumpBackAndTimesDoNot) {
  logs_->add("job", 0, "stdout", "a");
  clock_.ms -= 500;
  logs_->add("job", 0, "stdout", "b");
  run(logs_->flushed("job"));
  EXPECT_EQ(all().lines.find("999500"), std::string::npos);
}

TEST_F(JobLogsTest, ThePlaceOfATimeIsFoundAmongMany) {
  std::vector<std::size_t> lengths;
  for (int i = 0; i < 2'000; ++i) {
    clock_.ms += i % 3 == 0 ? 10 : 0;
    logs_->add("job", 0, "stdout", std::string(static_cast<std::size_t>(i * 7 % 211), 'x'));
  }
  run(logs_->flushed("job"));
  const std::string text = all().lines;
  for (const std::int64_t since : {std::int64_t{0}, std::int64_t{1'000'010}, std::int64_t{1'003'335}, clock_.ms}) {
    std::int64_t expected = 0;
    for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
      expected = static_cast<std::int64_t>(at);
      if (std::stoll(text.substr(at + 13)) >= since) break;
    }
    EXPECT_EQ(run(logs_->place_of("job", since)), expected) << since;
  }
  EXPECT_EQ(run(logs_->place_of("job", clock_.ms + 1)), static_cast<std::int64_t>(text.size()));
}

TEST_F(JobLogsTest, ALineThatAKillHasTornIsLeftOut) {
  put_file(folder_ / "job" / "log.jsonl", "{\"timestamp\":1,\"task\":0,\"stream\":\"stdout\",\"mess");
  logs_->add("job", 0, "stdout", "whole");
  run(logs_->flushed("job"));
  EXPECT_TRUE(all().lines.starts_with("{\"timestamp\":1000000"));
}

TEST_F(JobLogsTest, WhatIsOverTheLimitIsDroppedAndSaid) {
  constexpr auto kLine = static_cast<std::int64_t>(JobLogs::kLineBytesMax);
  const std::string line(JobLogs::kLineBytesMax, 'x');
  for (int i = 0; i < 2'200; ++i) {
    logs_->add("job", 0, "stdout", line);
    if (i % 200 == 0) run(logs_->flushed("job"));
  }
  EXPECT_GT(logs_->figures().dropped, 100U);
  logs_->add("job", -1, "job", "the server's own");
  logs_->end("job");
  run(logs_->flushed("job"));
  const auto tail = run(logs_->read("job", JobLogs::kBytesMax - 3 * kLine, 1 << 20)).lines;
  EXPECT_NE(tail.find("is not kept in it"), std::string::npos);
  EXPECT_NE(tail.find("the server's own"), std::string::npos);
  EXPECT_NE(tail.find("lines that functions printed were not kept"), std::string::npos);
}

TEST_F(JobLogsTest, AnErrorsLongTextIsLinesThatCanBeRead) {
  std::string text;
  for (int i = 0; i < 80'000; ++i) text += '\x01';  // six bytes each as JSON
  logs_->add("job", -1, "job", text);
  logs_->add("job", -1, "job", "behind it");
  run(logs_->flushed("job"));
  std::int64_t from = 0;
  std::string lines;
  for (JobLogs::Part part; (part = run(logs_->read("job", from, 256 << 10))).end > from; from = part.end)
    lines += part.lines;
  EXPECT_NE(lines.find("behind it"), std::string::npos);
}

TEST(JobContents, WhatWasNotLookedAtForLongestGoes) {
  JobContents contents;
  const auto keep = [&](const std::string& id) {
    auto content = std::make_shared<JobContent>();
    content->bytes = JobContents::kBytesMax / 3;
    contents.keep(id, std::move(content));
  };
  for (const char* id : {"a", "b", "c"}) keep(id);
  EXPECT_NE(contents.find("a"), nullptr);
  keep("d");
  EXPECT_EQ(contents.find("b"), nullptr);
  for (const char* id : {"a", "c", "d"}) EXPECT_NE(contents.find(id), nullptr) << id;
}

TEST(JobContent, ItemsAreFoundByTheirNumber) {
  const auto config = parse_job_config(
      R"({"name":"j","steps":[{"type":"udf","udf":{"name":"f","code":"def udf(a): return a","entrypoint":"udf"},)"
      R"("input":[{"a":1},[2,3],"x"]},{"type":"partition_geospatial","input":"a.gpkg","output":"/mount/t"}]})");
  ASSERT_TRUE(config) << config.error().message;
  User owner;
  owner.id = "u";
  owner.organisation = "default";
  const auto content = content_of(*config, owner);
  ASSERT_TRUE(content) << content.error().message;
  const StepContent& step = (*content)->steps[0];
  EXPECT_EQ(step.item(0), R"({"a":1})");
  EXPECT_EQ(step.item(1), "[2,3]");
  EXPECT_EQ(step.item(2), "\"x\"");
  EXPECT_EQ(step.item(3), "");
  EXPECT_EQ(step.function->owner_id, "u");
  const StepContent& ingest = (*content)->steps[1];
  EXPECT_EQ(ingest.parameters.at("step").at("output"), "/mount/t");
  EXPECT_NE(ingest.function->code.find("run_partition"), std::string::npos);
}

TEST(JobFiles, AResultHasANameOfItsAttempt) {
  TestFolder folder;
  const auto data = DataFolder::open(folder / "data");
  ASSERT_TRUE(data);
  const JobFiles files(*data, JobFiles::Sharing::here);
  const auto first = files.write_result("j", 3, (std::int64_t{1} << 32) | 7, "parquet", "bytes", "{}");
  const auto second = files.write_result("j", 3, (std::int64_t{2} << 32) | 1, "parquet", "other", "{}");
  ASSERT_TRUE(first && second);
  EXPECT_NE(*first, *second);
  EXPECT_EQ(shown_result_name(*first), "3.parquet");
  EXPECT_EQ(files.read_result("j", *first)->view, "bytes");
  EXPECT_TRUE(files.remove_result("j", *first));
  EXPECT_FALSE(files.read_result("j", *first));
  EXPECT_EQ(files.read_result("j", *second)->view, "other");
  EXPECT_EQ(files.add_progress("j", 2), 2);
  EXPECT_EQ(files.add_progress("j", 3), 5);
}

struct JobFilesTest : testing::Test {
  TestFolder folder;
  std::optional<DataFolder> data{*DataFolder::open(folder / "data")};
  JobFiles files{*data, JobFiles::Sharing::here};
};

TEST_F(JobFilesTest, WhatCannotBeWrittenOrReadIsAnErrorThatNamesTheFile) {
  const auto names = [](const auto& result, std::string_view what) {
    return !result && result.error().message.find(what) != std::string::npos;
  };
  // Nothing was made for the job: as when somebody has removed its folder.
  EXPECT_TRUE(names(files.note_process("gone", 1, 2, 3), "gone/processes/1"));
  EXPECT_TRUE(names(files.append_usage("gone", "{}\n"), "gone/usage.jsonl"));
  EXPECT_TRUE(names(files.add_progress("gone", 1), "gone/.writing-progress"));
  EXPECT_EQ(files.add_progress("gone", 0), 0);
  EXPECT_EQ(files.usage("gone"), "");
  EXPECT_TRUE(files.forget_process("gone", 1));
  EXPECT_TRUE(files.remove_result("gone", "0.1.json"));
  ASSERT_TRUE(files.make_folder("j"));
  for (const char* name : {"progress", "usage.jsonl", "processes/1", "results/0.1.json"})
    std::filesystem::create_directories(files.folder("j") / name / "a_folder");
  EXPECT_TRUE(names(files.add_progress("j", 0), "j/progress"));
  EXPECT_TRUE(names(files.add_progress("j", 1), "j/progress"));
  EXPECT_TRUE(names(files.usage("j"), "j/usage.jsonl"));
  EXPECT_TRUE(names(files.process("j", 1), "j/processes/1"));
  EXPECT_TRUE(names(files.forget_process("j", 1), "j/processes/1"));
  EXPECT_TRUE(names(files.remove_result("j", "0.1.json"), "j/results/0.1.json"));
}

TEST_F(JobFilesTest, AProcessIsNotedReadAndForgotten) {
  ASSERT_TRUE(files.make_folder("j"));
  EXPECT_EQ(files.process("j", 7)->has_value(), false);
  ASSERT_TRUE(files.note_process("j", 7, 4711, 99));
  ASSERT_TRUE(*files.process("j", 7));
  EXPECT_EQ((*files.process("j", 7))->pid, 4711);
  EXPECT_EQ((*files.process("j", 7))->started, 99U);
  ASSERT_TRUE(files.forget_process("j", 7));
  EXPECT_FALSE(*files.process("j", 7));
  put_file(files.folder("j") / "processes" / "7", "47");  // a kill has cut it
  EXPECT_FALSE(*files.process("j", 7));
}

TEST_F(JobFilesTest, UsageOfALongJobIsBoundedSpansItAndKeepsItsPeak) {
  ASSERT_TRUE(files.make_folder("j"));
  const std::int64_t count = 3 * JobFiles::kUsageBytesMax / 80;
  std::string lines;
  for (std::int64_t i = 0; i < count; ++i) {
    lines += usage_line(1'700'000'000'000 + i, i % 3, i == 500 ? 77'777'777 : 1'000'000 + i % 1'000, 0.5);
    if (lines.size() < 500'000 && i + 1 < count) continue;
    ASSERT_TRUE(files.append_usage("j", lines));
    lines.clear();
  }
  const std::string kept = *files.usage("j");
  EXPECT_LE(static_cast<std::int64_t>(kept.size()), JobFiles::kUsageBytesMax);
  EXPECT_GT(static_cast<std::int64_t>(kept.size()), JobFiles::kUsageBytesMax / 4);
  EXPECT_NE(kept.find("77777777"), std::string::npos);
  const auto time_of = [&](std::size_t line) { return std::stoll(kept.substr(line + 13, 13)) - 1'700'000'000'000; };
  EXPECT_LT(time_of(0), 1'000);
  EXPECT_GT(time_of(kept.rfind('\n', kept.size() - 2) + 1), count - 100);
}

TEST(UsageLines, WhereEveryTaskHasOneSampleEverySecondLineGoes) {
  std::string lines;
  for (std::int64_t task = 0; task < 100; ++task) lines += usage_line(1, task, 5, 0);
  const std::string kept = thinned_usage(lines, static_cast<std::int64_t>(lines.size() / 2 + 50));
  EXPECT_EQ(std::ranges::count(kept, '\n'), 50);
  EXPECT_EQ(thinned_usage("no line feed", 3), "");
  EXPECT_EQ(thinned_usage(lines, 3), "");
}

TEST_F(JobFilesTest, WhatASweepPutsAsideIsNoJobsAnyMoreAndOthersStay) {
  const std::string id = "01234567-89ab-4cde-8f01-23456789abcd", other = "01234567-89ab-4cde-8f01-23456789abce";
  const std::string config = JobFiles::config_path("default", id, WallTime(std::chrono::hours(500'000)));
  for (const std::string& each : {id, other}) ASSERT_TRUE(files.make_folder(each));
  ASSERT_TRUE(files.write_config(config, "{}"));
  ASSERT_TRUE(files.write_config(JobFiles::config_path("default", other, WallTime()), "{}"));
  std::filesystem::create_directories(data->path() / "jobs" / "notes-of-a-user");
  auto found = files.folders();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->jobs.size(), 2U);
  EXPECT_TRUE(found->aside.empty());
  const std::int64_t now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_EQ(files.put_aside(id, found->days, now + 100), "");  // it was there before the state database
  EXPECT_TRUE(files.read_config(config));
  const auto name = files.put_aside(id, found->days, now - 100);
  ASSERT_TRUE(name);
  EXPECT_FALSE(std::filesystem::exists(data->path() / config));
  found = files.folders();
  EXPECT_EQ(found->jobs, std::vector{other});
  EXPECT_EQ(found->aside, std::vector{*name});
  EXPECT_TRUE(files.read_config(JobFiles::config_path("default", other, WallTime())));
  ASSERT_TRUE(files.remove_aside(*name));
  EXPECT_TRUE(files.folders()->aside.empty());
  EXPECT_TRUE(std::filesystem::exists(data->path() / "jobs" / "notes-of-a-user"));
}

TEST_F(JobFilesTest, OnlyFoldersWithTheNameOfAJobAreAJobsSharedOnes) {
  const std::string id = "01234567-89ab-4cde-8f01-23456789abcd";
  ASSERT_TRUE(files.make_shared(id));
  std::filesystem::create_directories(data->path() / "job-data" / "something of a user's");
  EXPECT_EQ(*files.jobs_with_shared(), std::vector{id});
}

TEST(ResultLinks, OnlyWhatWasMadeHereAndIsNotTooOldOpens) {
  init_random();
  TestFolder folder;
  const auto data = DataFolder::open(folder / "data");
  ASSERT_TRUE(data);
  const auto links = ResultLinks::open(*data);
  ASSERT_TRUE(links);
  const std::string link = links->make("a-job", 1'000);
  EXPECT_EQ(links->job_of(link, 1'000 + ResultLinks::kLifeSeconds), "a-job");
  EXPECT_EQ(links->job_of(link, 1'001 + ResultLinks::kLifeSeconds), "");
  EXPECT_EQ(ResultLinks::open(*data)->job_of(link, 1'000), "a-job");
  for (std::size_t i = 0; i < link.size(); ++i) {
    std::string changed = link;
    changed[i] = changed[i] == '1' ? '2' : '1';
    EXPECT_EQ(links->job_of(changed, 1'000), "") << i;
  }
  EXPECT_EQ(links->job_of("", 0), "");
}

TEST(JobOptions, ComeBackAsTheyWere) {
  JobOptions options;
  options.instance_type = "small";
  options.environment = {{"A", "1=2"}, {"B", ""}};
  options.disk_size_gb = 12;
  options.max_retry = 3;
  options.notes = {"a note"};
  const JobOptions read = read_options(options_json(options));
  EXPECT_EQ(read.environment, options.environment);
  EXPECT_EQ(read.disk_size_gb, 12);
  EXPECT_FALSE(read.cache_max_age);
  EXPECT_EQ(read.max_retry, 3);
  EXPECT_EQ(read.notes, options.notes);
}

TEST(JobOptions, AVariableThatIsNoneIsRefusedByItsPlace) {
  for (const char* list : {R"(["A"])", R"(["=1"])", R"(["1A=2"])", R"([3])", R"("A=1")", R"(["A=1","B C=2"])"}) {
    const auto read = read_environment(boost::json::parse(list));
    ASSERT_FALSE(read) << list;
    EXPECT_NE(read.error().message.find("additional_env"), std::string::npos);
  }
  EXPECT_EQ(read_environment(boost::json::parse(R"(["A=1=2"])"))->front().second, "1=2");
}

}  // namespace
}  // namespace fused
