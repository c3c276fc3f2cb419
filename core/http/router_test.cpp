#include "http/router.hpp"

#include <gtest/gtest.h>

#include "http/http_test_server.hpp"

namespace fused {
namespace {

Route row(Method method, std::string pattern, std::string name) {
  return {method, std::move(pattern), Access::open, testing::replies("{}"), std::move(name)};
}

class RouterTest : public ::testing::Test {
 protected:
  Router router{{
      row(Method::get, "/", "root"),
      row(Method::get, "/udf/by-id/{id}", "by_id"),
      row(Method::post, "/udf/by-id/{id}", "save"),
      row(Method::get, "/udf/by-id/self", "self"),
      row(Method::get, "/udf/{kind}/x", "kind"),
      row(Method::get, "/shared/{token}/run/tiles/{z}/{x}/{y}", "tile"),
      row(Method::get, "/files/{path...}", "file"),
      row(Method::get, "/files/list", "list"),
  }};
  std::string name(Method method, std::string_view path) {
    const auto match = router.match(method, path);
    return match.route ? match.route->operation_id : "-";
  }
};

TEST_F(RouterTest, FindsTheRowAndItsValues) {
  const auto match = router.match(Method::get, "/shared/fsh_1/run/tiles/3/4/5");
  ASSERT_EQ(match.outcome, Router::Outcome::found);
  EXPECT_EQ(match.route->operation_id, "tile");
  EXPECT_EQ(match.values, (Router::PathValues{{"token", "fsh_1"}, {"z", "3"}, {"x", "4"}, {"y", "5"}}));
}

TEST_F(RouterTest, LiteralsWinOverNamesAndNamesOverTheRest) {
  EXPECT_EQ(name(Method::get, "/udf/by-id/self"), "self");
  EXPECT_EQ(name(Method::get, "/udf/by-id/other"), "by_id");
  EXPECT_EQ(name(Method::get, "/files/list"), "list");
  EXPECT_EQ(name(Method::get, "/files/list/more"), "file");
}

TEST_F(RouterTest, StepsBackFromALiteralThatLeadsNowhere) { EXPECT_EQ(name(Method::get, "/udf/by-id/x"), "by_id"); }

TEST_F(RouterTest, TheRestKeepsItsSlashesAndIsDecodedOnce) {
  EXPECT_EQ(router.match(Method::get, "/files/a/b%2520c/d").values.at("path"), "a/b%20c/d");
}

TEST_F(RouterTest, AnEncodedSlashStaysWithinItsSegment) {
  EXPECT_EQ(router.match(Method::get, "/udf/by-id/a%2Fb").values.at("id"), "a/b");
  EXPECT_EQ(router.match(Method::get, "/udf/by-id/a@b.c").values.at("id"), "a@b.c");
}

TEST_F(RouterTest, HeadIsAnsweredByGet) { EXPECT_EQ(name(Method::head, "/udf/by-id/1"), "by_id"); }

TEST_F(RouterTest, AnotherMethodIsToldWhatIsAllowed) {
  const auto match = router.match(Method::delete_, "/udf/by-id/1");
  ASSERT_EQ(match.outcome, Router::Outcome::method_not_allowed);
  EXPECT_EQ(match.allowed, (std::vector{Method::get, Method::post}));
}

TEST_F(RouterTest, WhatIsNotInTheListIsNotFound) {
  for (const char* path : {"/udf", "/udf/", "/udf/by-id/", "/udf/by-id/1/", "//udf/by-id/1", "/files", "/files/", "",
                           "udf", "/UDF/by-id/1", "/shared//run/tiles/1/2/3"})
    EXPECT_EQ(router.match(Method::get, path).outcome, Router::Outcome::not_found) << path;
  EXPECT_EQ(name(Method::get, "/"), "root");
}

TEST_F(RouterTest, ALongPathOfMadeUpSegmentsIsNotFoundQuickly) {
  std::string path;
  for (int i = 0; i < 200'000; ++i) path += "/a";
  EXPECT_EQ(router.match(Method::get, path).outcome, Router::Outcome::not_found);
  EXPECT_EQ(name(Method::get, "/files" + path), "file");
}

TEST_F(RouterTest, TwoRowsOfOneMethodAndPatternEndTheProcess) {
  EXPECT_DEATH(Router({row(Method::get, "/a/{x}", "1"), row(Method::get, "/a/{y}", "2")}), "stands twice");
  EXPECT_DEATH(Router({row(Method::get, "/a/{rest...}/b", "1")}), "must be the last");
  EXPECT_DEATH(Router({row(Method::get, "/a/x{y}", "1")}), "whole segment");
}

TEST_F(RouterTest, PrintsOneLineARow) {
  EXPECT_EQ(print_routes({row(Method::post, "/udf/new", "new")}), "POST /udf/new open new\n");
}

}  // namespace
}  // namespace fused
