#include "base/ids.hpp"

#include <gtest/gtest.h>

#include <set>

#include "base/clock.hpp"

namespace fused {

TEST(Ids, UuidsAreVersionFourAndDiffer) {
  init_random();
  std::set<std::string> seen;
  for (int i = 0; i < 1'000; ++i) {
    const std::string id = new_uuid();
    EXPECT_TRUE(is_uuid(id)) << id;
    EXPECT_EQ(id[14], '4');
    seen.insert(id);
  }
  EXPECT_EQ(seen.size(), 1'000u);
}

TEST(Ids, TheUuidOfATextIsAlwaysTheSameAndOfVersionEight) {
  EXPECT_EQ(uuid_of("abc"), "ba7816bf-8f01-8fea-8141-40de5dae2223");  // the standard's digest of abc, two fields set
  EXPECT_NE(uuid_of("abd"), uuid_of("abc"));
}

TEST(Ids, TokensHold256Bits) {
  init_random();
  EXPECT_EQ(new_token("fsh_").size(), 68u);
  EXPECT_NE(new_token(""), new_token(""));
}

TEST(Ids, Sha256OfTheStandardsExample) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Ids, OnlyWholeUuidsPass) {
  EXPECT_TRUE(is_uuid("4dacbe7f-8f4e-4bbc-831e-adbe654ecb11"));
  EXPECT_FALSE(is_uuid("4dacbe7f8f4e4bbc831eadbe654ecb11"));
  EXPECT_FALSE(is_uuid("../../../etc/passwd-831e-adbe654ecb1"));
}

TEST(Clock, FormatsUtc) {
  const WallTime time{std::chrono::microseconds(1'795'256'130'000'042)};
  EXPECT_EQ(format_utc(time), "2026-11-21T10:15:30.000042Z");
  EXPECT_EQ(format_utc_date(time), "2026-11-21");
  EXPECT_EQ(format_utc_hhmm(time), "1015");
}

}  // namespace fused
