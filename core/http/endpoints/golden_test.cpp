// Data folders that earlier servers wrote (tests/golden/v<N>, made by tests/golden/make.py) must stay readable.
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "auth/authenticator.hpp"
#include "base/ids.hpp"
#include "functions/function_store.hpp"
#include "storage/migrations.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(FUSED_SOURCE_DIR) / "tests/golden";

class Golden : public testing::TestWithParam<int> {};

TEST_P(Golden, what_this_version_wrote_is_all_there) {
  init_random();
  const std::string version = "v" + std::to_string(GetParam());
  const auto facts = boost::json::parse(file_text(kGolden / (version + ".json"))).as_object();
  const auto fact = [&](std::string_view name) { return std::string(facts.at(name).as_string()); };
  TestFolder folder;
  std::filesystem::copy(kGolden / version, folder / "data", std::filesystem::copy_options::recursive);
  // Twice: what the first start brings up to date, the second must find.
  for (int start = 1; start <= 2; ++start) {
    const Clock clock;
    const auto data = DataFolder::open(folder / "data");
    ASSERT_TRUE(data) << data.error().message;
    auto database = Database::open(data->state_db(), data->gate());
    ASSERT_TRUE(database) << database.error().message;
    const Status migrated = migrate(*database);
    ASSERT_TRUE(migrated) << migrated.error().message;
    People people(*database, *data, clock);
    ShareTokens shares(*database, *data, clock);
    FunctionStore functions(*database, *data, clock);
    ASSERT_TRUE(people.start());
    ASSERT_TRUE(shares.start());
    ASSERT_TRUE(functions.start());
    EXPECT_EQ(people.actor_of(fact("owner_token")).role, Role::owner);
    EXPECT_EQ(file_text(folder / "data/token"), fact("owner_token") + "\n") << "the owner's token is not made anew";
    EXPECT_EQ(people.actor_of(fact("member_token")).username, "ann");
    const auto saved = functions.by_email("owner@localhost", "default", "größe");
    ASSERT_TRUE(saved);
    EXPECT_EQ(saved->id, fact("function_id"));
    EXPECT_EQ(saved->source->code, fact("function_code"));
    EXPECT_EQ(functions.by_id(fact("member_function_id"))->owner.username, "ann");
    EXPECT_FALSE(functions.by_id(fact("deleted_function_id")));
    const auto revisions = functions.revisions(saved->id);
    ASSERT_TRUE(revisions);
    ASSERT_EQ(revisions->size(), 2u);
    for (const Revision& revision : *revisions) EXPECT_TRUE(functions.revision_text(saved->id, revision.id));
    const auto token = shares.valid(fact("share_token"));
    ASSERT_TRUE(token);
    EXPECT_EQ(token->function_id, saved->id);
    EXPECT_EQ(shares.text_of(*token), fact("share_token"));
    EXPECT_FALSE(shares.valid(fact("revoked_share_token")));
  }
}

INSTANTIATE_TEST_SUITE_P(DataFolder, Golden, testing::Range(1, kDataVersion + 1));

}  // namespace
}  // namespace fused
