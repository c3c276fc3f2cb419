#include "batch/call_arguments.hpp"

#include <gtest/gtest.h>

#include "base/ids.hpp"
#include "batch/kept_calls.hpp"

namespace fused {
namespace {

Result<std::shared_ptr<const ArgumentPiece>> read(std::string text) {
  const auto owner = std::make_shared<const std::string>(std::move(text));
  return ArgumentPiece::read(owner, *owner);
}

TEST(ArgumentPiece, GroupsAreCutOutOfItsText) {
  const auto piece =
      read(R"({"piece":2,"calls":[[0,2],[7,1]],"columns":{"t":["a,\"]" , "b",null],"n":[1,-2.5e3,[{}]]}})");
  ASSERT_TRUE(piece) << piece.error().message;
  EXPECT_EQ((*piece)->number(), 2);
  EXPECT_EQ((*piece)->calls(), 3U);
  ASSERT_EQ((*piece)->columns(), 2U);
  EXPECT_EQ((*piece)->name(0), "\"n\"");
  EXPECT_EQ((*piece)->values(0, 1, 2), "-2.5e3,[{}]");
  EXPECT_EQ((*piece)->values(1, 0, 2), "\"a,\\\"]\" , \"b\"");
  EXPECT_EQ((*piece)->ranges()[1].first, 7U);
}

TEST(ArgumentPiece, RowsAndCallsWithoutArguments) {
  const auto rows = read(R"({"piece":0,"calls":[[4,2]],"rows":[{"n":1},{"m":{"n":[2]}}]})");
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_TRUE((*rows)->has_rows());
  EXPECT_EQ((*rows)->values(0, 1, 1), R"({"m":{"n":[2]}})");
  const auto none = read(R"({"piece":0,"calls":[[0,5]]})");
  ASSERT_TRUE(none) << none.error().message;
  EXPECT_EQ((*none)->columns(), 0U);
  EXPECT_EQ((*none)->digest(0), (*none)->digest(4));
}

TEST(ArgumentPiece, EqualArgumentsHaveOneDigestAndOthersAnother) {
  const auto a = read(R"({"piece":0,"calls":[[0,3]],"columns":{"a":[1,1,11],"b":[11,11,1]}})");
  const auto b = read(R"({"piece":1,"calls":[[9,1]],"columns":{"b":[11],"a":[1]}})");
  ASSERT_TRUE(a && b);
  EXPECT_EQ((*a)->digest(0), (*a)->digest(1));
  EXPECT_NE((*a)->digest(0), (*a)->digest(2));
  EXPECT_EQ((*a)->digest(0), (*b)->digest(0));
}

TEST(ArgumentPiece, WhatIsNotJsonOrDoesNotFitIsRefusedWithItsPlace) {
  const std::string deep =
      R"({"piece":0,"calls":[[0,1]],"columns":{"a":[)" + std::string(40, '[') + std::string(40, ']') + "]}}";
  const std::string digits = R"({"piece":0,"calls":[[0,1]],"columns":{"a":[)" + std::string(1'001, '9') + "]}}";
  for (const std::string& text :
       std::initializer_list<std::string>{"",
                                          "[]",
                                          "{",
                                          R"({"piece":0)",
                                          R"({"piece":-1,"calls":[]})",
                                          R"({"piece":0,"calls":[[0,1]],"columns":{"a":[1,2]}})",
                                          R"({"piece":0,"calls":[[0,2]],"columns":{"a":[1,]}})",
                                          R"({"piece":0,"calls":[[0,1]],"columns":{"a":[01]}})",
                                          R"({"piece":0,"calls":[[0,1]],"columns":{"a":[1],"a":[2]}})",
                                          R"({"piece":0,"calls":[[0,1]],"rows":[1]})",
                                          R"({"piece":0,"calls":[[0,1]],"rows":[{}],"columns":{"a":[1]}})",
                                          R"({"piece":0,"calls":[[15999999,2]]})",
                                          R"({"piece":0,"calls":[[0,1]],"columns":{"a":["\x"]}})",
                                          R"({"piece":0,"calls":[[0,1]],"columns":{"a":[NaN]}})",
                                          "{\"piece\":0,\"calls\":[[0,1]],\"columns\":{\"a\":[\"\xff\"]}}",
                                          R"({"calls":[]})",
                                          R"({"piece":0,"calls":[[0,2],[5,3],[1,1]]})",
                                          R"({"piece":0,"calls":[[0,16000000],[0,16000000]]})",
                                          R"({"piece":0,"calls":[]} x)",
                                          R"({"piece":0,"calls":[[0,1]],"columns":{"a":["\ud8"]}})",
                                          deep,
                                          digits}) {
    const auto piece = read(text);
    ASSERT_FALSE(piece) << text.substr(0, 200);
    EXPECT_EQ(piece.error().kind, ErrorKind::invalid_argument);
    EXPECT_FALSE(piece.error().message.empty());
  }
}

TEST(KeptCalls, AreFoundByTheDigestOfTheirArguments) {
  CallsToKeep calls;
  std::vector<ArgumentDigest> digests(100);
  for (int i = 0; i < 100; ++i) {
    digests[i].fill(static_cast<unsigned char>(i * 37));
    calls.add(digests[i], 1'000 + i, "record " + std::to_string(i));
  }
  calls.add(digests[3], 5, "another");
  const auto kept = KeptCalls::of(Bytes::of(calls.bytes()));
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->calls(), 100U);
  for (int i = 0; i < 100; ++i) {
    const auto found = kept->find(digests[i]);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->record, "record " + std::to_string(i));
    EXPECT_EQ(found->made_ms, 1'000 + i);
  }
  ArgumentDigest other;
  other.fill(7);
  other[31] = 8;
  EXPECT_FALSE(kept->find(other));
  EXPECT_FALSE(KeptCalls::of(Bytes::of("FBC1\xff\xff\xff\x00")));
  EXPECT_FALSE(KeptCalls::of(Bytes::of("")));
}

}  // namespace
}  // namespace fused
