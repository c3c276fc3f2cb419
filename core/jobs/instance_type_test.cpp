#include "jobs/instance_type.hpp"

#include <gtest/gtest.h>

#include <set>

namespace fused {
namespace {

constexpr std::int64_t kGib = std::int64_t{1} << 30;
const Machine kLarge{128, 4'000 * kGib, 20'000 * kGib};
const Machine kSmall{2, 7 * kGib + kGib / 2, 50 * kGib};

TEST(InstanceType, every_type_of_the_white_list_is_known_once) {
  std::set<std::string_view> names;
  for (const InstanceType& type : instance_types()) {
    EXPECT_TRUE(names.insert(type.name).second) << type.name;
    const auto limits = limits_on(kLarge, *find_instance_type(type.name), std::nullopt, true);
    ASSERT_TRUE(limits) << limits.error().message;
    EXPECT_EQ(limits->cores, type.cores);
    EXPECT_EQ(limits->memory_bytes, type.memory_gib * kGib);
  }
  EXPECT_EQ(names.size(), 30u);
  for (const char* family : {"m5.", "r5."})
    for (const char* size : {"large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"})
      EXPECT_TRUE(names.contains(std::string(family) + size)) << family << size;
  EXPECT_EQ(find_instance_type("")->name, "small");
}

TEST(InstanceType, an_unknown_one_is_an_error_that_lists_them) {
  const std::string message = find_instance_type("m5.lrage").error().message;
  EXPECT_NE(message.find("'m5.lrage' is unknown; did you mean 'm5.large'?"), std::string::npos) << message;
  EXPECT_NE(message.find("m3-ultramem-64"), std::string::npos) << message;
  EXPECT_NE(find_instance_type("realtime").error().message.find("not a job"), std::string::npos);
}

TEST(InstanceType, is_cut_to_the_machine_and_says_so_or_is_refused) {
  const auto type = *find_instance_type("r5.16xlarge");
  const auto limits = limits_on(kSmall, type, 100, false);
  ASSERT_TRUE(limits);
  EXPECT_EQ(limits->cores, 2);
  EXPECT_EQ(limits->memory_bytes, kSmall.memory_bytes);
  ASSERT_EQ(limits->cuts.size(), 3u);
  EXPECT_EQ(limits->cuts[1], "r5.16xlarge has 512 GiB memory, this machine has 7.5 GiB for jobs");
  const auto refused = limits_on(kSmall, type, 100, true);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::unprocessable);
  EXPECT_NE(refused.error().message.find("--strict-instances"), std::string::npos);
  EXPECT_TRUE(limits_on(kSmall, *find_instance_type("small"), std::nullopt, true));
  EXPECT_FALSE(limits_on(kSmall, type, 0, false));
}

TEST(InstanceType, a_task_holds_a_core_and_its_part_of_the_memory) {
  const JobLimits limits = *limits_on(kLarge, *find_instance_type("m5.xlarge"), std::nullopt, false);
  const auto one = task_share(limits, {StepPlan{1, 0, false}});
  EXPECT_EQ(one.parallel_max, 1);
  EXPECT_EQ(one.share.memory_bytes, 16 * kGib);
  const auto many = task_share(limits, {StepPlan{1, 0, false}, StepPlan{100, 0, false}});
  EXPECT_EQ(many.parallel_max, 4);
  EXPECT_EQ(many.share.cores, 1);
  EXPECT_EQ(many.share.memory_bytes, 4 * kGib);
  EXPECT_EQ(task_share(limits, {StepPlan{100, 2, false}}).share.memory_bytes, 8 * kGib);
}

}  // namespace
}  // namespace fused
