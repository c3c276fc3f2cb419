#include "reader/answer.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "table/made_table.hpp"

namespace fused::reader {
namespace {

namespace json = boost::json;

class Answers : public testing::Test {
 protected:
  json::object ask(json::object question, std::string* body = nullptr) {
    if (!question.contains("url")) question["url"] = folder_.path().string();
    const Answer answer = answerer_.answer(json::serialize(question));
    if (body) *body = answer.body;
    return json::parse(answer.header).as_object();
  }
  std::string error(json::object question) {
    const auto header = ask(std::move(question));
    return header.contains("error") ? std::string(header.at("error").at("message").as_string()) : "none";
  }
  TestFolder folder_;
  Answerer answerer_{nullptr, folder_.path().string() + "/mount"};
};

TEST_F(Answers, a_table_is_described) {
  write_table({}, folder_.path().string());
  const auto info = ask({{"op", "info"}});
  EXPECT_EQ(info.at("rows").as_int64(), 1600);
  EXPECT_EQ(info.at("chunks").to_number<int>(), 4);
  EXPECT_EQ(info.at("geometry").as_string(), "geometry");
  EXPECT_EQ(ask({{"op", "version"}}).at("version"), info.at("version"));
}

TEST_F(Answers, rows_of_a_box_under_a_condition_up_to_a_limit) {
  write_table({}, folder_.path().string());
  const json::array box{0.0, 0.0, 0.09, 0.09};  // 10 × 10 points
  std::string body;
  EXPECT_EQ(ask({{"op", "rows"}, {"format", "json"}, {"bounds", box}}, &body).at("rows").as_int64(), 100);
  EXPECT_EQ(json::parse(body).as_array().size(), 100U);
  EXPECT_EQ(ask({{"op", "rows"}, {"format", "json"}, {"bounds", box}, {"where", R"([["name","=","even"]])"}})
                .at("rows")
                .as_int64(),
            50);
  EXPECT_EQ(ask({{"op", "rows"}, {"format", "arrow"}, {"bounds", box}, {"limit", 7}}).at("rows").as_int64(), 7);
  EXPECT_NE(error({{"op", "rows"}, {"format", "json"}, {"columns", {"nothing"}}}).find("nothing"), std::string::npos);
}

TEST_F(Answers, a_tile_has_the_rows_of_its_box) {
  write_table({}, folder_.path().string());
  std::string body;
  // z 9: a tile is 0.7° wide, the grid 0.4°.
  const auto tile = ask({{"op", "tile"}, {"z", 9}, {"x", 256}, {"y", 255}, {"layer", "points"}}, &body);
  EXPECT_EQ(tile.at("content").as_string(), "rows");
  EXPECT_EQ(tile.at("rows").as_int64(), 1600);
  EXPECT_NE(body.find("points"), std::string::npos);
  const auto empty = ask({{"op", "tile"}, {"z", 9}, {"x", 0}, {"y", 0}, {"layer", "points"}}, &body);
  EXPECT_FALSE(empty.contains("error"));
  EXPECT_TRUE(body.empty());
  EXPECT_NE(error({{"op", "tile"}, {"z", 3}, {"x", 8}, {"y", 0}}), "none");
}

TEST_F(Answers, over_many_rows_a_tile_is_thinned_and_without_a_covering_it_shows_chunks) {
  write_table({.side = 150, .step = 0.001}, folder_.path().string());  // 22,500 rows in 0.15°
  std::string body;
  const json::object question{{"op", "tile"}, {"z", 4}, {"x", 8}, {"y", 7}, {"layer", "points"}};
  const auto thin = ask(question, &body);
  EXPECT_EQ(thin.at("content").as_string(), "thinned");
  EXPECT_GT(thin.at("rows").as_int64(), 0);
  EXPECT_LT(thin.at("rows").as_int64(), 50);  // a cell is 0.18° wide
  auto question_where = question;
  question_where["where"] = R"([["name","=","odd"]])";
  EXPECT_EQ(ask(question_where, &body).at("rows").as_int64(), 0);
  TestFolder other;
  write_table({.side = 150, .step = 0.001, .covering = false}, other.path().string());
  auto plain = question;
  plain["url"] = other.path().string();
  EXPECT_EQ(ask(plain, &body).at("content").as_string(), "chunks");
  EXPECT_NE(body.find("chunk_id"), std::string::npos);
}

TEST_F(Answers, what_is_no_question_or_no_table_is_an_error) {
  EXPECT_NE(answerer_.answer("{").header.find("not a question"), std::string::npos);
  EXPECT_NE(error({{"op", "drop"}}).find("not a question"), std::string::npos);
  EXPECT_NE(error({{"op", "info"}}).find("no _sample"), std::string::npos);
  EXPECT_NE(error({{"op", "info"}, {"url", "/mount/x"}}).find("mount"), std::string::npos);
  std::ofstream(folder_.path().string() + "/_sample") << "this is no table";
  EXPECT_NE(error({{"op", "info"}}).find("not readable"), std::string::npos);
}

}  // namespace
}  // namespace fused::reader
