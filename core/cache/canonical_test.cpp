#include "cache/canonical.hpp"

#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fstream>
#include <iterator>

namespace fused {
namespace {

namespace json = boost::json;

std::string hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

json::value table() {
  std::ifstream in(std::string(FUSED_SOURCE_DIR) + "/tests/contract/parameters_canonical.json");
  return json::parse(std::string((std::istreambuf_iterator<char>(in)), {}));
}

Signature signature_of(const std::string& word) {
  return *Signature::of_json({{"parameters", json::array{json::array{"p", json::string(word)}}}, {"rest", nullptr}});
}

TEST(Canonical, TheTableHoldsInCpp) {
  const json::value cases = table();
  ASSERT_GT(cases.as_array().size(), 60u);
  for (const auto& item : cases.as_array()) {
    const json::object& c = item.as_object();
    const ParameterKind kind = signature_of(std::string(c.at("kind").as_string())).parameters.front();
    const std::string expected(c.at("canonical").as_string());
    for (const auto& text : c.at("texts").as_array())
      EXPECT_EQ(hex(canonical_text(kind, std::string(text.as_string()))), expected)
          << c.at("kind") << " of the text " << text;
    for (const auto& value : c.at("values").as_array())
      EXPECT_EQ(hex(canonical_json(kind, value)), expected) << c.at("kind") << " of the value " << value;
  }
}

TEST(Canonical, DifferentRowsOfTheTableNeverShareAForm) {
  std::map<std::string, std::string> seen;
  const json::value cases = table();
  for (const auto& item : cases.as_array()) {
    const std::string key =
        std::string(item.at("kind").as_string()) + " " + std::string(item.at("canonical").as_string());
    EXPECT_TRUE(seen.emplace(key, json::serialize(item)).second) << key;
  }
}

TEST(Canonical, AValueByUrlEqualsTheSameByBody) {
  const auto signature = *Signature::of_json(
      {{"parameters", json::array{json::array{"n", "int"}, json::array{"tags", "list"}}}, {"rest", nullptr}});
  const auto by_url = canonical_parameters(signature, {}, {{"n", "3"}, {"tags", "[1, \"a\"]"}}, {});
  const auto by_body = canonical_parameters(signature, {}, {}, {{"n", 3}, {"tags", json::array{1, "a"}}});
  EXPECT_EQ(by_url, by_body);
  EXPECT_EQ(by_url, canonical_parameters(signature, {{"n", 3}}, {{"tags", "[1,\"a\"]"}}, {}));
}

TEST(Canonical, NamesThatTheFunctionDoesNotHaveEnterAsTheyCame) {
  auto signature = signature_of("int");
  const auto with = canonical_parameters(signature, {}, {{"p", "1"}, {"q", "2"}}, {});
  ASSERT_EQ(with.size(), 2u);
  EXPECT_EQ(with[1].second, "t2");
  signature.rest = ParameterKind{"", ValueKind::text, false};
  EXPECT_EQ(canonical_parameters(signature, {}, {{"p", "1"}, {"q", "2"}}, {})[1].second, "s2");
  EXPECT_EQ(canonical_parameters(Signature{}, {}, {{"p", "1"}}, {})[0].second, "t1");
}

TEST(Canonical, TheLastOfANameCountsButForLists) {
  EXPECT_EQ(canonical_parameters(signature_of("int"), {}, {{"p", "1"}, {"p", "2"}}, {}),
            canonical_parameters(signature_of("int"), {}, {{"p", "2"}}, {}));
  EXPECT_NE(canonical_parameters(signature_of("list"), {}, {{"p", "1"}, {"p", "2"}}, {}),
            canonical_parameters(signature_of("list"), {}, {{"p", "2"}}, {}));
  EXPECT_NE(canonical_parameters(signature_of("list"), {}, {{"p", "ab"}, {"p", "c"}}, {}),
            canonical_parameters(signature_of("list"), {}, {{"p", "a"}, {"p", "bc"}}, {}));
}

TEST(Canonical, ASignatureSurvivesItsJson) {
  const json::object described{{"parameters", json::array{json::array{"a", "int?"}, json::array{"b", "other"}}},
                               {"rest", "str"}};
  const auto signature = Signature::of_json(described);
  ASSERT_TRUE(signature);
  EXPECT_EQ(json::serialize(signature->json()), json::serialize(described));
  EXPECT_FALSE(Signature::of_json({{"parameters", 3}}));
  EXPECT_FALSE(Signature::of_json({{"parameters", json::array{json::array{"a", "float64"}}}}));
}

}  // namespace
}  // namespace fused
