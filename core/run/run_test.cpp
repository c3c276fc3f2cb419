#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "run/outcome.hpp"
#include "run/run_order_json.hpp"
#include "run/run_request.hpp"

namespace fused {
namespace json = boost::json;

TEST(Formats, AListKeepsItsOrderAndKnowsOtherNames) {
  EXPECT_EQ(parse_format_list("npy,tiff,parquet,json").value(),
            (std::vector<std::string>{"npy", "tiff", "parquet", "json"}));
  EXPECT_EQ(parse_format_list("JPG, tif").value(), (std::vector<std::string>{"jpeg", "tiff"}));
}

TEST(Formats, AnUnknownOneIsNamedWithThoseThatAreKnown) {
  const auto formats = parse_format_list("parquet,docx");
  ASSERT_FALSE(formats);
  EXPECT_EQ(formats.error().kind, ErrorKind::invalid_argument);
  EXPECT_NE(formats.error().message.find("'docx'"), std::string::npos);
  EXPECT_NE(formats.error().message.find("geojson"), std::string::npos);
}

TEST(Formats, TheQueryGoesBeforeTheExtensionAndBothBeforeTheOldForm) {
  EXPECT_EQ(wanted_format({{"format", "csv"}}, "png")->preferences, std::vector<std::string>{"csv"});
  EXPECT_EQ(wanted_format({}, "png")->from, "extension");
  const auto old = wanted_format({{"dtype_out_vector", "geojson"}}, "");
  EXPECT_EQ(old->dtype_out->vector, "geojson");
  EXPECT_EQ(old->dtype_out->raster, "tiff");
  EXPECT_EQ(wanted_format({}, "")->from, "default");
}

TEST(StepConfig, SaysWhatIsMissing) {
  for (const auto& [text, said] :
       std::vector<std::pair<std::string, std::string>>{{"[]", "not a JSON object"},
                                                        {"{\"type\":\"partition_geospatial\"}", "partition_geospatial"},
                                                        {"{\"type\":\"udf\"}", "'udf'"},
                                                        {"{\"type\":\"udf\",\"udf\":{}}", "code"}}) {
    const auto config = parse_step_config(text);
    ASSERT_FALSE(config) << text;
    EXPECT_NE(config.error().message.find(said), std::string::npos) << config.error().message;
  }
}

TEST(StepConfig, SeveralSetsOfParametersAreNotOneRun) {
  const std::string udf = R"("type":"udf","udf":{"name":"f","code":"def udf(n): return n"})";
  EXPECT_TRUE(parse_step_config("{" + udf + R"(,"input":null})"));
  EXPECT_TRUE(parse_step_config("{" + udf + R"(,"input":[]})"));
  const auto two = parse_step_config("{" + udf + R"(,"input":[{"n":3},{"n":4}]})");
  ASSERT_FALSE(two);
  EXPECT_EQ(two.error().kind, ErrorKind::unprocessable);
  EXPECT_NE(two.error().message.find("2 set(s)"), std::string::npos);
  EXPECT_FALSE(parse_step_config("{" + udf + R"(,"input":{"n":3}})"));
}

TEST(StepConfig, SaysWhichSavedFunctionItIs) {
  const auto config = parse_step_config(
      R"({"type":"udf","udf":{"name":"f","code":"def udf(): return 1","metadata":{"fused:id":"abc","fused:slug":"f"}}})");
  EXPECT_EQ(config->saved_id, "abc");
  EXPECT_EQ(parse_step_config(R"({"type":"udf","udf":{"code":"x","metadata":null}})")->saved_id, "");
}

TEST(StepConfig, TheCallsParametersAreNotPartOfTheFunction) {
  const auto config =
      parse_step_config(R"({"type":"udf","udf":{"name":"f","code":"def udf(n): return n","parameters":{"n":3}}})");
  ASSERT_TRUE(config);
  EXPECT_TRUE(config->function.parameters.empty());
  EXPECT_EQ(config->parameters.at("n").as_int64(), 3);
}

TEST(Metadata, IsOneLineOfAsciiUnderItsLimitWhateverItHolds) {
  const std::string huge(200'000, 'x');
  const std::string odd = "ünï\xf0\x9f\x98\x80 \xff\r\n\t\"\\";
  Metadata metadata{.stdout_text = huge,
                    .stderr_text = odd,
                    .has_exception = true,
                    .exception_class = "ValueError",
                    .line = 3,
                    .error_message = huge,
                    .exception = huge,
                    .error_type = "runtime_error",
                    .outcome = "user_error"};
  const std::string header = metadata_header(metadata);
  EXPECT_LT(header.size(), 12'000u);
  for (const char c : header) EXPECT_TRUE(c >= 0x20 && c < 0x7f);
  const json::value read = json::parse(header);
  EXPECT_EQ(read.at("lineno").as_int64(), 3);
  EXPECT_NE(std::string(read.at("stdout").as_string()).find("bytes left out here"), std::string::npos);
  EXPECT_EQ(read.at("stderr").as_string(), "ünï\xf0\x9f\x98\x80 \xef\xbf\xbd\r\n\t\"\\");
}

TEST(Outcomes, EachHasOneRowAndAnUnknownOneIsACrash) {
  EXPECT_EQ(outcome_row("timeout").status, 504);
  EXPECT_EQ(outcome_row("timeout").error_type, "timeout_error");
  EXPECT_EQ(outcome_row("no_format").status, 406);
  EXPECT_EQ(outcome_row("garbage from a worker").outcome, "crashed");
}

TEST(RunOrder, TheFrameIsJsonWhateverTheParametersHold) {
  auto function = std::make_shared<FunctionSource>();
  function->name = "f\"\n";
  function->code = "def udf(): return '\\'";
  function->code_hash = "h";
  RunRequest request;
  request.function = function;
  request.run_id = "id";
  request.query = {{"a\"b", "c\\\x01"}, {"n", "3"}};
  request.tile = TileId{3, 4, 2};
  const RunOrder order = make_run_order(request, {"token", "http://127.0.0.1:1", "default"});
  const json::value frame = json::parse("{\"udf\":" + order.udf_full() + "," + order.rest + "}");
  EXPECT_EQ(frame.at("query").at(0).at(0).as_string(), "a\"b");
  EXPECT_EQ(frame.at("query").at(0).at(1).as_string(), "c\\\x01");
  EXPECT_EQ(frame.at("tile").at(0).as_int64(), 3);
  EXPECT_EQ(frame.at("udf").at("code").as_string(), function->code);
  EXPECT_EQ(
      json::parse("{\"udf\":" + order.udf_known + "," + order.rest + "}").at("udf").as_object().if_contains("code"),
      nullptr);
}

}  // namespace fused
