#include <gtest/gtest.h>
#include <sys/stat.h>

#include <set>

#include "auth/authenticator.hpp"
#include "auth/cache_secrets.hpp"
#include "auth/names.hpp"
#include "auth/permissions.hpp"
#include "base/ids.hpp"
#include "storage/migrations.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

using namespace std::chrono_literals;

struct MovableClock : Clock {
  WallTime time = WallTime(std::chrono::seconds(1'800'000'000));
  WallTime now() const override { return time; }
};

// Everything as main() builds it, on a data folder that several "starts" share.
struct Server {
  MovableClock clock;
  DataFolder data;
  Database database;
  People people{database, data, clock};
  ShareTokens shares{database, data, clock};
  RunTokens runs;
  Authenticator authenticator{people, shares, runs};

  explicit Server(const std::filesystem::path& root)
      : data(*DataFolder::open(root)), database(*Database::open(data.state_db(), data.gate())) {
    init_random();
    EXPECT_TRUE(migrate(database));
    const Status started = people.start();
    EXPECT_TRUE(started) << (started ? "" : started.error().message);
    EXPECT_TRUE(shares.start());
  }
  std::string file_token() const {
    std::string text = file_text(data.path() / "token");
    text.pop_back();
    return text;
  }
  std::string function(const std::string& slug) {
    const std::string id = new_uuid();
    EXPECT_TRUE(
        database.run("INSERT INTO function VALUES (?, 'default', ?, 'default', ?, 'auto', '{}', 0, 0, 'r', 1, 1)",
                     {id, people.owner_of_server().id, slug}));
    return id;
  }
  ShareToken shared(const std::string& function_id) {
    ShareToken token;
    token.function_id = function_id;
    token.user_id = people.owner_of_server().id;
    return *shares.create(token);
  }
};

struct Auth : testing::Test {
  TestFolder folder;
  std::filesystem::path root = folder / "data";
};

TEST_F(Auth, the_first_start_makes_organisation_user_home_and_a_token_file_for_its_owner_alone) {
  const Server server(root);
  const User owner = server.people.owner_of_server();
  EXPECT_EQ(owner.organisation, "default");
  EXPECT_EQ(owner.username, "owner");
  EXPECT_EQ(owner.email, "owner@localhost");
  EXPECT_TRUE(std::filesystem::is_directory(root / "s3/fused-users/default/owner"));
  const Actor actor = server.authenticator.authenticate("Bearer " + server.file_token());
  EXPECT_EQ(actor.kind, ActorKind::user);
  EXPECT_EQ(actor.role, Role::owner);
  EXPECT_EQ(actor.user_id, owner.id);
  EXPECT_EQ(actor.organisation, "default");
  for (const char* name : {"token", "share-key", "state.db"}) {
    struct stat facts{};
    ASSERT_EQ(::stat((root / name).c_str(), &facts), 0) << name;
    EXPECT_EQ(facts.st_mode & 07777, 0600u) << name;
  }
}

TEST_F(Auth, each_owner_has_a_cache_secret_that_stays_and_a_damaged_key_makes_new_ones) {
  const Server server(root);
  const auto first = CacheSecrets::open(server.data);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->of("default", "a").size(), 64u);
  EXPECT_NE(first->of("default", "a"), first->of("default", "b"));
  EXPECT_NE(first->of("org", "1a"), first->of("org1", "a"));
  struct stat facts{};
  ASSERT_EQ(::stat((root / "cache-key").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777, 0600u);
  EXPECT_EQ(CacheSecrets::open(server.data)->of("default", "a"), first->of("default", "a"));
  put_file(root / "cache-key", "zz\n");
  EXPECT_NE(CacheSecrets::open(server.data)->of("default", "a"), first->of("default", "a"));
}

TEST_F(Auth, later_starts_keep_the_token_and_replace_a_lost_or_dead_one) {
  std::string first;
  {
    first = Server(root).file_token();
  }
  {
    EXPECT_EQ(Server(root).file_token(), first);
  }
  std::filesystem::remove(root / "token");
  std::string second;
  {
    const Server server(root);
    second = server.file_token();
    EXPECT_NE(second, first);
    EXPECT_TRUE(server.authenticator.actor_of(first).is_nobody()) << "the lost token must be dead";
    EXPECT_EQ(server.people.tokens(server.people.owner_of_server().id).size(), 1u);
  }
  put_file(root / "token", "fut_garbage\n");
  const Server server(root);
  EXPECT_FALSE(server.authenticator.actor_of(server.file_token()).is_nobody());
}

TEST_F(Auth, a_token_is_taken_under_four_schemes_in_any_case_and_under_no_other) {
  const Server server(root);
  const std::string token = server.file_token();
  for (const std::string scheme :
       {"Bearer", "bearer", "BEARER", "Fused-Env-Bearer", "fused-rtenv-bearer", "FUSED-SERVICE-TOKEN", "Bearer  "})
    EXPECT_FALSE(server.authenticator.authenticate(scheme + " " + token).is_nobody()) << scheme;
  const std::vector<std::string> refused{token,
                                         "Basic " + token,
                                         "Bearer",
                                         "Bearer ",
                                         "Bearer" + token,
                                         "Bearer\t" + token,
                                         "",
                                         "Bearer " + token + "x",
                                         "Bearer " + token.substr(1),
                                         "Bearer " + std::string(100'000, 'x'),
                                         "Bearers " + token};
  for (const std::string& header : refused)
    EXPECT_TRUE(server.authenticator.authenticate(header).is_nobody()) << header.substr(0, 80);
}

TEST_F(Auth, no_file_holds_an_api_token_but_the_token_file_nor_any_share_token) {
  std::set<std::string> secrets;
  {
    Server server(root);
    secrets.insert(server.people.create_token(server.people.owner_of_server().id, "laptop", {})->token);
    secrets.insert(server.shares.text_of(server.shared(server.function("f"))));
    secrets.insert(server.runs.begin(Actor{}));
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    for (const auto& secret : secrets)
      EXPECT_EQ(file_text(entry.path()).find(secret.substr(4)), std::string::npos) << entry.path();
  }
}

TEST_F(Auth, tokens_end_by_revocation_and_by_expiry) {
  Server server(root);
  const std::string owner = server.people.owner_of_server().id;
  const auto lasting = *server.people.create_token(owner, "lasting", {});
  const auto brief = *server.people.create_token(owner, "brief", 60s);
  EXPECT_FALSE(server.people.actor_of(lasting.token).is_nobody());
  EXPECT_FALSE(server.people.actor_of(brief.token).is_nobody());
  server.clock.time += 59s;
  EXPECT_FALSE(server.people.actor_of(brief.token).is_nobody());
  server.clock.time += 1s;
  EXPECT_TRUE(server.people.actor_of(brief.token).is_nobody());
  ASSERT_TRUE(server.people.revoke_token(lasting.record.id));
  EXPECT_TRUE(server.people.actor_of(lasting.token).is_nobody());
  EXPECT_EQ(server.people.revoke_token(lasting.record.id).error().kind, ErrorKind::not_found);
  EXPECT_FALSE(server.people.create_token(owner, "none", 0s));
  EXPECT_FALSE(server.people.create_token(owner, "two\nlines", {}));
  EXPECT_FALSE(server.people.create_token("nobody", "x", {}));
}

TEST_F(Auth, people_and_tokens_are_there_after_a_restart) {
  std::string member_token, revoked;
  {
    Server server(root);
    const auto organisation = server.people.organisation("default");
    const auto member = server.people.create_user(organisation->id, "Ann@example.org", "ann", Role::member);
    ASSERT_TRUE(member);
    member_token = server.people.create_token(member->id, "a", {})->token;
    const auto gone = *server.people.create_token(member->id, "b", {});
    revoked = gone.token;
    ASSERT_TRUE(server.people.revoke_token(gone.record.id));
  }
  const Server server(root);
  const Actor actor = server.people.actor_of(member_token);
  EXPECT_EQ(actor.email, "Ann@example.org");
  EXPECT_EQ(actor.role, Role::member);
  EXPECT_TRUE(server.people.actor_of(revoked).is_nobody());
  EXPECT_TRUE(server.people.user_by_email("ann@EXAMPLE.org"));
  EXPECT_TRUE(std::filesystem::is_directory(root / "s3/fused-users/default/ann"));
}

TEST_F(Auth, names_are_unique_and_fit_into_a_path) {
  Server server(root);
  const std::string organisation = server.people.organisation("default")->id;
  ASSERT_TRUE(server.people.create_user(organisation, "ann@example.org", "ann", Role::member));
  EXPECT_EQ(server.people.create_user(organisation, "ANN@example.org", "ann2", Role::member).error().kind,
            ErrorKind::conflict);
  EXPECT_EQ(server.people.create_user(organisation, "a2@example.org", "ann", Role::member).error().kind,
            ErrorKind::conflict);
  EXPECT_EQ(server.people.create_user("none", "a3@example.org", "a3", Role::member).error().kind, ErrorKind::not_found);
  for (const std::string name : {"", ".", "..", "../x", "a/b", "Ann", "-a", "a b", "ä", "fused-system", "team", "self"})
    EXPECT_FALSE(server.people.create_user(organisation, "new@example.org", name, Role::member)) << name;
  for (const std::string email : {"", "a", "@b", "a@", "a@b@c", "a b@c", "a/../b@c", "a\n@b"})
    EXPECT_FALSE(server.people.create_user(organisation, email, "new", Role::member)) << email;
  EXPECT_TRUE(check_email("o'neil+tag@größe.example"));
  const auto other = server.people.create_organisation("acme");
  ASSERT_TRUE(other);
  EXPECT_EQ(server.people.create_organisation("acme").error().kind, ErrorKind::conflict);
  EXPECT_TRUE(server.people.create_user(other->id, "ann@acme.example", "ann", Role::owner))
      << "the same name elsewhere";
}

TEST_F(Auth, a_role_is_in_force_for_the_tokens_there_are_and_the_last_owner_stays) {
  std::string token;
  {
    Server server(root);
    const std::string first = server.people.owner_of_server().id;
    const auto member = *server.people.create_user(server.people.organisation("default")->id, "m@x", "m", Role::member);
    token = server.people.create_token(member.id, "t", {})->token;
    EXPECT_EQ(server.people.set_role(first, Role::member).error().kind, ErrorKind::conflict);
    EXPECT_EQ(server.people.set_role("nobody", Role::owner).error().kind, ErrorKind::not_found);
    EXPECT_EQ(server.people.set_role(member.id, Role::none).error().kind, ErrorKind::invalid_argument);
    ASSERT_TRUE(server.people.set_role(member.id, Role::owner));
    EXPECT_EQ(server.people.actor_of(token).role, Role::owner);
    EXPECT_TRUE(server.people.set_role(first, Role::member)) << "there is another owner now";
    EXPECT_EQ(server.people.set_enabled(member.id, false).error().kind, ErrorKind::conflict);
    ASSERT_TRUE(server.people.set_role(first, Role::owner));
  }
  Server again(root);
  EXPECT_EQ(again.people.actor_of(token).role, Role::owner);
}

TEST_F(Auth, a_disabled_users_tokens_die_and_the_last_owner_stays) {
  Server server(root);
  const auto member = *server.people.create_user(server.people.organisation("default")->id, "m@x", "m", Role::member);
  const auto token = *server.people.create_token(member.id, "t", {});
  EXPECT_EQ(server.people.set_enabled(server.people.owner_of_server().id, false).error().kind, ErrorKind::conflict);
  ASSERT_TRUE(server.people.set_enabled(member.id, false));
  EXPECT_TRUE(server.people.actor_of(token.token).is_nobody());
  EXPECT_EQ(server.people.create_token(member.id, "t", {}).error().kind, ErrorKind::conflict);
  ASSERT_TRUE(server.people.set_enabled(member.id, true));
  EXPECT_TRUE(server.people.actor_of(token.token).is_nobody()) << "enabled again, the old token stays dead";
}

TEST_F(Auth, share_tokens_let_in_until_they_are_revoked_disabled_or_over) {
  Server server(root);
  const std::string function = server.function("f");
  ShareToken token = server.shared(function);
  const std::string text = server.shares.text_of(token);
  EXPECT_EQ(text.size(), 4 + 64u);
  EXPECT_TRUE(text.starts_with("fsh_"));
  EXPECT_EQ(server.shares.valid(text)->function_id, function);
  EXPECT_EQ(server.authenticator.authenticate("Bearer " + text).kind, ActorKind::share_token);
  EXPECT_FALSE(server.shares.valid(token.id)) << "the id manages, it does not open";
  EXPECT_TRUE(server.shares.record(token.id));

  token.enabled = false;
  ASSERT_TRUE(server.shares.update(token));
  EXPECT_FALSE(server.shares.valid(text));
  EXPECT_TRUE(server.shares.record(text));
  token.enabled = true;
  token.expires_at = token.created_at + 10;
  ASSERT_TRUE(server.shares.update(token));
  EXPECT_TRUE(server.shares.valid(text));
  server.clock.time += 10s;
  EXPECT_FALSE(server.shares.valid(text));
  token.expires_at = token.created_at + 9;
  EXPECT_EQ(server.shares.update(token).error().kind, ErrorKind::invalid_argument);

  token.expires_at.reset();
  ASSERT_TRUE(server.shares.update(token));
  EXPECT_TRUE(server.shares.valid(text));
  ASSERT_TRUE(server.shares.revoke(token.id));
  EXPECT_FALSE(server.shares.valid(text));
  EXPECT_TRUE(server.authenticator.authenticate("Bearer " + text).is_nobody());
}

TEST_F(Auth, share_tokens_survive_a_restart_and_are_shown_again_only_with_the_key) {
  std::string text, function;
  {
    Server server(root);
    function = server.function("f");
    ShareToken token = server.shared(function);
    token.metadata_json = R"({"a":1})";
    ASSERT_TRUE(server.shares.update(token));
    text = server.shares.text_of(token);
  }
  {
    const Server server(root);
    ASSERT_TRUE(server.shares.valid(text));
    EXPECT_EQ(server.shares.text_of(*server.shares.valid(text)), text);
    EXPECT_EQ(server.shares.valid(text)->metadata_json, R"({"a":1})");
  }
  std::filesystem::remove(root / "share-key");
  Server server(root);
  ASSERT_TRUE(server.shares.valid(text)) << "links that are out there work without the key";
  EXPECT_EQ(server.shares.text_of(*server.shares.valid(text)), server.shares.valid(text)->id);
  ASSERT_TRUE(server.shares.revoke_of_function(function));
  EXPECT_FALSE(server.shares.valid(text));
}

TEST_F(Auth, a_share_key_that_is_damaged_stops_the_start) {
  {
    const Server server(root);
  }
  put_file(root / "share-key", "zz\n");
  const MovableClock clock;
  const auto data = *DataFolder::open(root);
  auto database = *Database::open(data.state_db(), data.gate());
  const Status status = ShareTokens(database, data, clock).start();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("share-key"), std::string::npos);
}

TEST_F(Auth, a_runs_token_is_dead_when_the_run_ends) {
  Server server(root);
  Actor actor = actor_of_user(server.people.owner_of_server());
  actor.recursion = 2;
  actor.run_id = "r";
  const std::string token = server.runs.begin(actor);
  const Actor seen = server.authenticator.authenticate("Bearer " + token);
  EXPECT_EQ(seen.kind, ActorKind::run);
  EXPECT_EQ(seen.recursion, 2);
  EXPECT_EQ(seen.email, "owner@localhost");
  server.runs.end(token);
  EXPECT_TRUE(server.authenticator.authenticate("Bearer " + token).is_nobody());
}

TEST_F(Auth, who_may_see_and_write) {
  Server server(root);
  const std::string organisation = server.people.organisation("default")->id;
  const Actor owner = actor_of_user(server.people.owner_of_server());
  const Actor member = actor_of_user(*server.people.create_user(organisation, "m@x", "m", Role::member));
  const Actor stranger =
      actor_of_user(*server.people.create_user(server.people.create_organisation("acme")->id, "s@x", "s", Role::owner));
  Actor run = owner;
  run.kind = ActorKind::run;
  Actor visitor;
  visitor.kind = ActorKind::share_token;
  visitor.organisation = "default";
  EXPECT_TRUE(may_write(owner, "default", member.user_id));
  EXPECT_TRUE(may_write(member, "default", member.user_id));
  EXPECT_FALSE(may_write(member, "default", owner.user_id));
  EXPECT_FALSE(may_write(stranger, "default", owner.user_id));
  EXPECT_FALSE(may_write(run, "default", owner.user_id));
  EXPECT_FALSE(may_write(visitor, "default", ""));
  EXPECT_TRUE(may_see(member, "default"));
  EXPECT_TRUE(may_see(run, "default"));
  EXPECT_FALSE(may_see(stranger, "default"));
  EXPECT_FALSE(may_see(visitor, "default"));
  EXPECT_FALSE(may_see(Actor{}, ""));
}

}  // namespace
}  // namespace fused
