// Where a job's parts lie, and what the server removes of them.
#include "jobs/job_output.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "jobs/job_options.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

namespace fs = std::filesystem;

const std::string kFolder = "/mount/a/towns.parts-0123456789ab";
const std::string kJob = "01234567-89ab-4cde-8f01-23456789abcd";

JobConfig config(const std::string& parts, const std::string& table, const std::string& entry = "make_table") {
  JobConfig config;
  config.steps.resize(2);
  config.steps[1].source = {
      {"type", "udf"},
      {"udf", boost::json::object{{"entrypoint", entry},
                                  {"parameters", boost::json::object{{"parts", parts}, {"table", table}}}}}};
  return config;
}

struct JobOutput : testing::Test {
  TestFolder folder;
  std::optional<DataFolder> data{*DataFolder::open(folder / "data")};

  fs::path make(const fs::path& below) const {
    const fs::path path = data->path() / below;
    fs::create_directories(path);
    put_file(path / "000000000-0011.parquet", "a part");
    return path;
  }
};

TEST_F(JobOutput, TheFolderOfAJobWithOutputTableIsKnownFromItsConfig) {
  EXPECT_EQ(parts_folder_of(config(kFolder, "/mount/a/towns/")), kFolder);
  EXPECT_EQ(parts_folder_of(config("s3://b/t.parts-0123456789ab", "s3://b/t")), "s3://b/t.parts-0123456789ab");
  EXPECT_EQ(parts_folder_of(config(kFolder, "/mount/b/towns")), "");
  EXPECT_EQ(parts_folder_of(config("/mount/a/towns.parts-0123456789aX", "/mount/a/towns")), "");
  EXPECT_EQ(parts_folder_of(config("/mount/a/towns", "/mount/a/towns")), "");
  EXPECT_EQ(parts_folder_of(config(kFolder, "/mount/a/towns", "udf")), "");
  EXPECT_EQ(parts_folder_of(JobConfig()), "");
  JobOptions options;
  options.parts = kFolder;
  EXPECT_EQ(read_options(options_json(options)).parts, kFolder);
  EXPECT_NE(parts_note(kFolder, *data).find(kFolder), std::string::npos);
  EXPECT_NE(parts_note("s3://b/t.parts-0123456789ab", *data).find("by hand"), std::string::npos);
}

TEST_F(JobOutput, WhatJobsMadeGoesAndWhatIsSomebodyElsesStays) {
  const fs::path base = data->path() / "mount/a/towns.parts-0123456789ab";
  make("mount/a/towns.parts-0123456789ab/" + kJob);
  make("mount/a/towns.parts-0123456789ab/notes");
  const fs::path table = make("mount/a/towns");
  ASSERT_TRUE(remove_parts(*data, kFolder));
  EXPECT_FALSE(fs::exists(base / kJob));
  EXPECT_TRUE(fs::exists(base / "notes"));
  fs::remove_all(base / "notes");
  ASSERT_TRUE(remove_parts(*data, (data->mount() / "a/towns.parts-0123456789ab").string()));  // its other name
  EXPECT_FALSE(fs::exists(base));
  EXPECT_TRUE(fs::exists(table / "000000000-0011.parquet"));
  EXPECT_TRUE(remove_parts(*data, kFolder)) << "it is gone";
}

TEST_F(JobOutput, NothingIsRemovedOutsideOfTheFolderOfParts) {
  const fs::path outside = folder / "outside";
  fs::create_directories(outside / kJob);
  put_file(outside / kJob / "kept", "kept");
  fs::create_directories(data->mount() / "a");
  fs::create_directory_symlink(outside, data->mount() / "a/towns.parts-0123456789ab");
  EXPECT_TRUE(remove_parts(*data, kFolder)) << "a link is no folder of parts";
  for (const fs::path& where : {outside, data->path() / "s3"}) {
    fs::create_directories(where / "x.parts-0123456789ab" / kJob);
    fs::remove(data->mount() / "link");
    fs::create_directory_symlink(where, data->mount() / "link");
    EXPECT_FALSE(remove_parts(*data, "/mount/link/x.parts-0123456789ab"));
    EXPECT_TRUE(fs::exists(where / "x.parts-0123456789ab" / kJob));
  }
  make("mount/x.parts-0123456789ab/" + kJob);
  EXPECT_TRUE(remove_parts(*data, "/mount/x.parts-0123456789ab"));
  EXPECT_FALSE(fs::exists(data->mount() / "x.parts-0123456789ab"));
  const fs::path own = make("mount/b/towns.parts-0123456789ab");
  fs::create_directory_symlink(outside / kJob, own / kJob);
  EXPECT_TRUE(remove_parts(*data, "/mount/b/towns.parts-0123456789ab"));  // the link itself, not what it leads to
  EXPECT_TRUE(fs::exists(outside / kJob / "kept"));
  const fs::path system = make("mount/fused-system/x.parts-0123456789ab/" + kJob);
  for (const char* other :
       {"/mount/fused-system/x.parts-0123456789ab", "/mount/../s3/x.parts-0123456789ab", "/mount//b.parts-0123456789ab",
        "/etc/x.parts-0123456789ab", "s3://b/x.parts-0123456789ab", "/mount/a", "/mount/a/.parts-0123456789ab"})
    EXPECT_TRUE(remove_parts(*data, other)) << other;
  EXPECT_TRUE(fs::exists(system / "000000000-0011.parquet"));
}

}  // namespace
}  // namespace fused
