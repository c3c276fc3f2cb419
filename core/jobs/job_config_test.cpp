#include "jobs/job_config.hpp"

#include <gtest/gtest.h>

namespace fused {
namespace {

const std::string kUdf = R"({"name":"hello","type":"geopandas_v2","code":"def udf(): pass","headers":[],
  "parameters":{"n":3},"entrypoint":"udf"})";

std::string config(const std::string& steps, const std::string& name = "\"a.b:c-d_1\"") {
  return R"({"name":)" + name + R"(,"metadata":null,"steps":[)" + steps + "]}";
}
std::string udf_step(const std::string& more = "") { return R"({"type":"udf","udf":)" + kUdf + more + "}"; }
std::string refused(const std::string& text) {
  const auto job = parse_job_config(text);
  EXPECT_FALSE(job) << text;
  if (job) return {};
  EXPECT_EQ(job.error().kind, ErrorKind::invalid_argument);
  return job.error().message;
}

TEST(JobConfig, steps_of_every_type_become_a_plan) {
  const auto job = parse_job_config(config(
      R"({"type":"partition_geospatial","name":"ingest","input":["s3://b/a.parquet"],"output":"s3://b/t/",
          "partitioning_method":"area","partitioning_force_utm":null,"target_num_chunks":500,"future_key":1},)" +
      udf_step(R"(,"input":[{"n":1},{"n":2},3],"ignore_chunk_error":true,"n_processes":2)") +
      R"(,{"type":"partition_nongeospatial","input":"s3://b/x.csv","partition_col":"h3"})"));
  ASSERT_TRUE(job) << job.error().message;
  EXPECT_EQ(job->name, "a.b:c-d_1");
  const auto plan = job->plan();
  ASSERT_EQ(plan.size(), 3u);
  EXPECT_EQ(plan[0].tasks, 1);
  EXPECT_EQ(plan[1].tasks, 3);
  EXPECT_EQ(plan[1].parallel_max, 2);
  EXPECT_TRUE(plan[1].ignore_chunk_error);
  EXPECT_EQ(job->steps[1].name, "hello");
  EXPECT_EQ(job->steps[0].source.at("future_key").as_int64(), 1) << "what we do not know is kept";
  EXPECT_TRUE(job->source.contains("steps"));
}

TEST(JobConfig, without_input_a_function_runs_once_and_a_name_is_found) {
  const auto job = parse_job_config(config(udf_step(R"(,"input":null)"), "null"));
  ASSERT_TRUE(job) << job.error().message;
  EXPECT_EQ(job->name, "hello");
  EXPECT_FALSE(job->steps[0].inputs);
  EXPECT_EQ(job->plan()[0].tasks, 1);
}

TEST(JobConfig, is_read_from_a_meta_json_too) {
  const auto job = parse_job_config(R"({"version":"0.0.3","job_config":)" + config(udf_step()) + "}");
  ASSERT_TRUE(job) << job.error().message;
  EXPECT_EQ(job->steps.size(), 1u);
  EXPECT_FALSE(job->source.contains("job_config"));
}

TEST(JobConfig, what_is_wrong_is_named_with_its_place_and_what_is_allowed) {
  const auto expect = [](const std::string& text, const std::string& part) {
    const std::string message = refused(text);
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect("{", "not JSON");
  expect("[]", "an object {\"name\"");
  expect(config(""), "steps is []; it must be a list with at least one step");
  expect(config(udf_step(), "\"1st\""), "name is \"1st\"; it must be a letter, then");
  expect(config("{}"), "steps[0].type is null; it must be \"udf\"");
  expect(config(udf_step() + R"(,{"type":"udf2"})"), "steps[1].type is \"udf2\"");
  expect(config(R"({"type":"udf"})"), "steps[0].udf is null");
  expect(config(R"({"type":"udf","udf":{"code":""}})"), "steps[0].udf.code is \"\"");
  expect(config(udf_step(R"(,"input":[])")), "steps[0].input is []; it must be null, or a list with at least one item");
  expect(config(udf_step(R"(,"input":{"n":1})")), "steps[0].input is {\"n\":1}");
  expect(config(udf_step(R"(,"n_processes":0)")), "n_processes is 0; it must be a whole number from 1 to 1024");
  expect(config(udf_step(R"(,"ignore_chunk_error":"no")")), "it must be true or false");
  const std::string partition = R"({"type":"partition_geospatial","input":"a")";
  expect(config(R"({"type":"partition_geospatial"})"), "steps[0].input is null; it must be a path");
  expect(config(partition + R"(,"partitioning_method":"size"})"), "one of \"rows\", \"area\"");
  expect(config(partition + R"(,"partitioning_maximum_per_file":-1})"), "a number above 0");
  expect(config(partition + R"(,"subdivide_start":1})"), "steps[0].subdivide_method is null");
  expect(config(partition + R"(,"lonlat_cols":["x"]})"), "two column names");
  expect(config(R"({"type":"partition_nongeospatial","input":[],"partition_col":1})"), "input is []");
}

TEST(JobConfig, too_many_steps_are_refused) {
  std::string steps = udf_step();
  for (std::size_t i = 0; i < kJobStepsMax; ++i) steps += "," + udf_step();
  EXPECT_NE(refused(config(steps)).find("steps has 101 items; at most 100"), std::string::npos);
}

}  // namespace
}  // namespace fused
