#include "base/nearest.hpp"

#include <gtest/gtest.h>

namespace fused {
namespace {

TEST(Nearest, CountsLettersThatDiffer) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("port", ""), 4u);
  EXPECT_EQ(edit_distance("prot", "port"), 1u) << "swapped neighbours are one mistake";
  EXPECT_EQ(edit_distance("worker", "workers"), 1u);
  EXPECT_EQ(edit_distance("abc", "xyz"), 3u);
}

TEST(Nearest, OffersOnlyWhatIsNear) {
  const std::vector<std::string> names{"port", "host", "workers", "limit-memory-bytes", "limit-stream-bytes"};
  EXPECT_EQ(nearest("prot", names), "port");
  EXPECT_EQ(nearest("worker", names), "workers");
  EXPECT_EQ(nearest("limit-memory-byte", names), "limit-memory-bytes");
  EXPECT_EQ(nearest("limit_memory_bytes", names), "limit-memory-bytes");
  EXPECT_EQ(nearest("colour", names), "");
  EXPECT_EQ(nearest("", {}), "");
  EXPECT_EQ(nearest(std::string(1'000'000, 'x'), names), "");
}

}  // namespace
}  // namespace fused
