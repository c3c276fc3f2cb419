#include "cache/cache_key.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <vector>

#include "cache/entry.hpp"

namespace fused {
namespace {

KeyInput input_of(std::string_view name, std::string_view value) {
  KeyInput input;
  input.organisation = "default";
  input.owner_id = "u1";
  input.function = "f";
  input.parameters = {{std::string(name), std::string(value)}};
  return input;
}

TEST(CacheKey, EveryPartDecidesAndIsNamed) {
  const KeyInput base = input_of("n", "i3");
  const CacheKey key = make_key(base);
  EXPECT_EQ(make_key(base).digest, key.digest);
  const auto changed = [&](auto change, const std::string& expected) {
    KeyInput other = input_of("n", "i3");
    change(other);
    const CacheKey made = make_key(other);
    EXPECT_NE(made.digest, key.digest) << expected;
    EXPECT_EQ(made.changes_since(key), std::vector<std::string>{expected});
  };
  changed([](auto& i) { i.organisation = "other"; }, "owner");
  changed([](auto& i) { i.owner_id = "u2"; }, "owner");
  changed([](auto& i) { i.function = "g"; }, "owner");
  changed([](auto& i) { i.code = digest_of("x"); }, "code");
  changed([](auto& i) { i.entrypoint = "main"; }, "entrypoint");
  changed([](auto& i) { i.format = "png"; }, "format");
  changed([](auto& i) { i.tile = "1/2/3"; }, "tile");
  changed([](auto& i) { i.environment = digest_of("y"); }, "environment");
  changed([](auto& i) { i.caller = "a@b.c"; }, "caller");
  changed([](auto& i) { i.parameters[0].second = "i4"; }, "parameter 'n'");
  changed([](auto& i) { i.parameters.push_back({"m", "i1"}); }, "parameter 'm'");
}

// Names and values that try to look like each other's neighbours (threats-and-faults.md T24): two keys are equal only
// if all parts are. 10^7 pairs with FUSED_TEST_LONG.
TEST(CacheKey, NoTwoOfMillionsOfInputsShareAKey) {
  std::mt19937_64 random(7);
  const std::string alphabet("\0\1,:=&|n0123", 13);
  const std::size_t count = std::getenv("FUSED_TEST_LONG") ? 10'000'000 : 300'000;
  std::vector<std::pair<Check, Check>> seen;  // of the key, of the input
  seen.reserve(count);
  const auto word = [&] {
    std::string out;
    for (auto left = random() % 4; left > 0; --left) out += alphabet[random() % alphabet.size()];
    return out;
  };
  std::string all;
  const auto add = [&](std::string_view part) { (all += std::to_string(part.size()) + ":").append(part); };
  for (std::size_t i = 0; i < count; ++i) {
    const std::string organisation = word(), owner = word(), function = word(), entry = word(), format = word(),
                      tile = word(), caller = word();
    KeyInput input{organisation, owner, function, digest_of(word()), entry, {}, format, tile, {}, caller};
    for (auto left = random() % 3; left > 0; --left) input.parameters.emplace_back(word(), word());
    all.clear();
    for (const auto part :
         {input.organisation, input.owner_id, input.function, input.entrypoint, input.format, input.tile, input.caller})
      add(part);
    add({reinterpret_cast<const char*>(input.code.bytes.data()), 32});
    for (const auto& [name, value] : input.parameters) add(name), add(value);
    all += std::to_string(input.parameters.size());
    Check key;
    const Digest digest = make_key(input).digest;
    std::copy_n(digest.bytes.begin(), key.size(), key.begin());
    seen.emplace_back(key, check_of(all));
  }
  std::ranges::sort(seen);
  std::size_t wrong = 0, distinct = 1;
  for (std::size_t i = 1; i < seen.size(); ++i) {
    const bool same_key = seen[i].first == seen[i - 1].first;
    distinct += !same_key;
    wrong += same_key && seen[i].second != seen[i - 1].second;
  }
  EXPECT_EQ(wrong, 0u);
  EXPECT_GT(distinct, count / 2);
}

TEST(CacheKey, AFunctionAndItsTilesHaveGroupsOfTheirOwn) {
  const auto group = function_group("default", "u1", "f");
  EXPECT_NE(group, function_group("default", "u2", "f"));
  EXPECT_NE(tile_group(group, "1/2/3"), tile_group(group, "1/3/2"));
  EXPECT_EQ(make_key(input_of("n", "i1")).group, group);
  EXPECT_EQ(make_key(input_of("n", "i1")).tile_group, 0u);
}

}  // namespace
}  // namespace fused
