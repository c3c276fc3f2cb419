#include "table/where.hpp"

#include <arrow/builder.h>
#include <gtest/gtest.h>

namespace fused {
namespace {

std::shared_ptr<arrow::Table> people() {
  arrow::Int32Builder age;
  arrow::StringBuilder name;
  arrow::Date32Builder day;
  arrow::BooleanBuilder here;
  EXPECT_TRUE(age.AppendValues({10, 20, 30}).ok() && age.AppendNull().ok());
  EXPECT_TRUE(name.AppendValues({"ann", "bob", "cy"}).ok() && name.AppendNull().ok());
  EXPECT_TRUE(day.AppendValues({0, 19'723, 20'000, 20'001}).ok());  // 1970-01-01, 2024-01-01, …
  EXPECT_TRUE(here.AppendValues(std::vector<bool>{true, false, true, false}).ok());
  return arrow::Table::Make(
      arrow::schema({arrow::field("age", arrow::int32()), arrow::field("name", arrow::utf8()),
                     arrow::field("day", arrow::date32()), arrow::field("here", arrow::boolean())}),
      {*age.Finish(), *name.Finish(), *day.Finish(), *here.Finish()});
}

// One letter a row: "y" where the condition holds; or the error.
std::string rows(std::string_view json) {
  const auto where = Where::parse(json);
  if (!where) return where.error().message;
  const auto holds = where->holds(*people(), arrow::default_memory_pool());
  if (!holds) return holds.error().message;
  std::string text;
  for (std::int64_t i = 0; i < (*holds)->length(); ++i) text += (*holds)->Value(i) ? 'y' : '-';
  return text;
}

TEST(WhereTest, each_operator) {
  EXPECT_EQ(rows(R"([["age","=",20]])"), "-y--");
  EXPECT_EQ(rows(R"([["age","==",20]])"), "-y--");
  EXPECT_EQ(rows(R"([["age","!=",20]])"), "y-y-");
  EXPECT_EQ(rows(R"([["age","<",20]])"), "y---");
  EXPECT_EQ(rows(R"([["age","<=",20]])"), "yy--");
  EXPECT_EQ(rows(R"([["age",">",20.5]])"), "--y-");
  EXPECT_EQ(rows(R"([["age",">=",20]])"), "-yy-");
  EXPECT_EQ(rows(R"([["name","in",["ann","cy","zz"]]])"), "y-y-");
  EXPECT_EQ(rows(R"([["name","not in",["ann"]]])"), "-yyy");
  EXPECT_EQ(rows(R"([["name","is null"]])"), "---y");
  EXPECT_EQ(rows(R"([["age","is not null"]])"), "yyy-");
  EXPECT_EQ(rows(R"([["here","=",true]])"), "y-y-");
  EXPECT_EQ(rows(R"([["day",">=","2024-01-01"]])"), "-yyy");
}

TEST(WhereTest, all_of_a_list_and_one_of_the_lists) {
  EXPECT_EQ(rows(R"([["age",">",5],["name","!=","bob"]])"), "y-y-");
  EXPECT_EQ(rows(R"([[["age","=",10]],[["name","=","cy"],["here","=",true]]])"), "y-y-");
  EXPECT_TRUE(Where::parse("")->everything());
  EXPECT_TRUE(Where::parse("[]")->everything());
  EXPECT_EQ(Where::parse(R"([["b","=",1],["a","=",1],["b","<",3]])")->columns().size(), 2U);
}

TEST(WhereTest, what_is_wrong_is_named) {
  const auto says = [](std::string_view json, std::string_view text) {
    const std::string said = rows(json);
    EXPECT_NE(said.find(text), std::string::npos) << json << " → " << said;
  };
  says("{", "JSON");
  says(R"([["age","~",1]])", "~");
  says(R"([["age","="]])", "age");
  says(R"([["age","in",3]])", "age");
  says(R"([["age","=","many"]])", "age");
  std::string many = "[";
  for (int i = 0; i < 101; ++i) many += std::string(i ? "," : "") + R"(["age","=",1])";
  says(many + "]", "100");
}

}  // namespace
}  // namespace fused
