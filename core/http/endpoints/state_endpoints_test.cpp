// The endpoints of functions, share tokens and people, through the real route list and the real stores, without a
// socket.
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "auth/authenticator.hpp"
#include "base/ids.hpp"
#include "http/access.hpp"
#include "http/endpoints/revisions.hpp"
#include "http/endpoints/state_routes.hpp"
#include "storage/migrations.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

struct Answer {
  int status = 0;
  json::value body;
  std::string text(std::string_view name) const { return std::string(body.as_object().at(name).as_string()); }
};

struct StateEndpoints : testing::Test {
  TestFolder folder;
  Clock clock;
  DataFolder data = (init_random(), *DataFolder::open(folder / "data"));
  Database database = *Database::open(data.state_db(), data.gate());
  People people{database, data, clock};
  ShareTokens shares{database, data, clock};
  FunctionStore functions{database, data, clock};
  RunTokens runs;
  Authenticator authenticator{people, shares, runs};
  StateThread thread;
  StateParts parts;
  std::unique_ptr<Router> router;
  std::string owner, member, stranger, run;  // tokens

  void SetUp() override {
    ASSERT_TRUE(migrate(database));
    ASSERT_TRUE(people.start());
    ASSERT_TRUE(shares.start());
    ASSERT_TRUE(functions.start());
    parts = {&functions, &shares, &people, &thread, &clock};
    router = std::make_unique<Router>(state_routes(parts));
    owner = file_text(folder / "data/token");
    owner.pop_back();
    member = call("POST", "/api/v1/users", owner, R"({"email":"ann@example.org","username":"ann"})").text("token");
    stranger = std::string(
        call("POST", "/api/v1/organisations", owner, R"({"name":"acme","email":"eve@acme.example","username":"eve"})")
            .body.at("owner")
            .at("token")
            .as_string());
    run = runs.begin(authenticator.actor_of(owner));
  }

  // As the dispatcher does: route, access, handler.
  Answer call(std::string_view method, std::string path, std::string_view token = {}, std::string body = {}) {
    Request request;
    for (const auto known : {Method::get, Method::post, Method::delete_})
      if (method_name(known) == method) request.method = known;
    if (const auto question = path.find('?'); question != path.npos) {
      for (std::string_view rest = std::string_view(path).substr(question + 1); !rest.empty();) {
        const auto item = rest.substr(0, rest.find('&'));
        request.query.items.emplace_back(item.substr(0, item.find('=')), item.substr(item.find('=') + 1));
        rest.remove_prefix(std::min(rest.size(), item.size() + 1));
      }
      path.resize(question);
    }
    auto match = router->match(request.method, path);
    EXPECT_EQ(match.outcome, Router::Outcome::found) << method << " " << path;
    if (match.outcome != Router::Outcome::found) return {};
    request.path_values = std::move(match.values);
    request.body = std::move(body);
    if (!token.empty()) request.headers.emplace_back("authorization", "Bearer " + std::string(token));
    request.actor = authenticator.authenticate(request.header("authorization"));
    Reply reply;
    if (const Status may = check_access(match.route->access, request.actor); !may) {
      reply = Reply::error(may.error(), "");
    } else {
      asio::io_context io;
      auto answered = asio::co_spawn(io, match.route->handler(request), asio::use_future);
      io.run();
      reply = answered.get();
    }
    return {reply.status, json::parse({reply.body.view.data(), reply.body.view.size()})};
  }

  static std::string draft(std::string_view slug, std::string_view code = "def udf(): return 1") {
    return json::serialize(json::object{{"slug", slug},
                                        {"udf_body", json::serialize(json::object{{"code", code}})},
                                        {"udf_type", "auto"},
                                        {"allow_public_read", false},
                                        {"collection_id", nullptr}});
  }
  std::string save(std::string_view token, std::string_view slug) {
    return call("POST", "/server/v1/udf/new", token, draft(slug)).text("id");
  }
  std::string share(std::string_view token, std::string_view function_id) {
    return call("POST", "/server/v1/udf-access-token/new", token,
                json::serialize(json::object{{"udf_id", function_id}}))
        .text("token");
  }
};

TEST_F(StateEndpoints, a_function_is_saved_found_listed_saved_over_and_deleted) {
  const auto saved = call("POST", "/server/v1/udf/new", member, draft("tiles"));
  ASSERT_EQ(saved.status, 200) << json::serialize(saved.body);
  const std::string id = saved.text("id");
  const std::vector<std::string> ways{"/by-id/" + id,
                                      "/by-user-email/ann@example.org/by-collection/default/by-slug/tiles",
                                      "/by-user-email/ann@example.org/by-slug/tiles",
                                      "/by-user-handle/ann/by-collection/default/by-slug/tiles",
                                      "/by-user-handle/ann/by-slug/tiles",
                                      "/by-user-handle/team/by-slug/tiles",
                                      "/exec-env/self/by-collection/default/by-slug/tiles"};
  for (const std::string& path : ways) {
    for (const auto& token : {member, owner, run}) {
      const auto found = call("GET", "/server/v1/udf" + path, token);
      ASSERT_EQ(found.status, 200) << path;
      EXPECT_EQ(found.text("id"), id);
      EXPECT_EQ(json::parse(found.text("udf_body")).at("code").as_string(), "def udf(): return 1");
    }
    EXPECT_EQ(call("GET", "/server/v1/udf" + path, stranger).status, 404) << path;
  }
  EXPECT_EQ(call("GET", "/server/v1/udf/self", member).body.as_array().size(), 1u);
  EXPECT_EQ(call("GET", "/server/v1/udf/self?skip=1&limit=300&udf_type=udf", member).body.as_array().size(), 0u);
  EXPECT_EQ(call("GET", "/server/v1/udf/self", owner).body.as_array().size(), 0u);
  EXPECT_EQ(call("GET", "/server/v1/udf/exec-env/self", owner).body.as_array().size(), 1u);
  EXPECT_EQ(call("GET", "/server/v1/udf/exec-env/self", stranger).body.as_array().size(), 0u);
  EXPECT_EQ(call("GET", "/server/v1/udf/public", owner).body.as_array().size(), 0u);
  EXPECT_EQ(call("GET", "/server/v1/udf/public/by-slug/tiles", owner).status, 404);

  EXPECT_EQ(call("POST", "/server/v1/udf/by-id/" + id, member, draft("tiles", "two")).status, 200);
  const auto revisions = call("GET", "/api/v1/functions/" + id + "/revisions", owner).body.as_array();
  ASSERT_EQ(revisions.size(), 2u);
  const std::string first(revisions[1].at("id").as_string());
  EXPECT_EQ(call("GET", "/api/v1/functions/" + id + "/revisions/" + first, member).text("code"), "def udf(): return 1");
  EXPECT_EQ(call("GET", "/api/v1/functions/" + id + "/revisions", stranger).status, 404);
  const std::string revert = "/api/v1/functions/" + id + "/revisions/1/revert";
  EXPECT_EQ(call("POST", revert, stranger, "{}").status, 404);
  EXPECT_EQ(call("POST", revert, member, R"({"message":1})").status, 400);
  const auto back = call("POST", revert, member, R"({"message":"again"})");
  ASSERT_EQ(back.status, 200);
  EXPECT_EQ(json::parse(back.text("udf_body")).at("code").as_string(), "def udf(): return 1");
  const auto newest = call("GET", "/api/v1/functions/" + id + "/revisions?limit=1", owner).body.as_array();
  ASSERT_EQ(newest.size(), 1u);
  EXPECT_EQ(newest[0].at("message").as_string(), "again");
  EXPECT_TRUE(newest[0].at("is_current").as_bool());
  EXPECT_EQ(call("GET", "/api/v1/functions/" + id + "/revisions?limit=1001", owner).status, 400);
  EXPECT_EQ(call("DELETE", "/server/v1/udf/by-id/" + id, member).status, 200);
  EXPECT_EQ(call("GET", "/server/v1/udf/by-id/" + id, member).status, 404);
  EXPECT_EQ(call("DELETE", "/server/v1/udf/by-id/" + id, member).status, 404);
}

TEST_F(StateEndpoints, a_taken_name_is_409_with_a_detail_and_bad_input_says_what_is_wrong) {
  save(member, "a");
  const auto again = call("POST", "/server/v1/udf/new", member, draft("a"));
  EXPECT_EQ(again.status, 409);
  EXPECT_NE(again.text("detail"), "");
  struct Case {
    std::string body;
    int status;
  };
  for (const auto& bad :
       {Case{"", 400}, Case{"[]", 400}, Case{"{", 400}, Case{R"({"slug":1})", 400}, Case{R"({"slug":"x"})", 400},
        Case{R"({"slug":"x","udf_body":{}})", 400}, Case{R"({"slug":"x","udf_body":"{}"})", 422},
        Case{R"({"slug":"x","udf_body":"no json"})", 422}, Case{draft("a/b"), 400}, Case{draft(".."), 400},
        Case{draft("🚀"), 400}, Case{draft(std::string(300, 'x')), 400},
        Case{R"({"slug":"x","udf_body":"{\"code\":\"\"}","collection_id":"canvas"})", 404},
        Case{R"({"slug":"x","udf_body":"{\"code\":\"\"}","udf_type":"x"})", 400},
        Case{R"({"slug":"x","udf_body":"{\"code\":\"\"}","allow_public_read":"yes"})", 400}}) {
    const auto answer = call("POST", "/server/v1/udf/new", member, bad.body);
    EXPECT_EQ(answer.status, bad.status) << bad.body.substr(0, 80) << json::serialize(answer.body);
    EXPECT_NE(answer.text("message"), "");
  }
  EXPECT_EQ(call("GET", "/server/v1/udf/self?skip=-1", member).status, 400);
  EXPECT_EQ(call("GET", "/server/v1/udf/self?limit=100000", member).status, 400);
  EXPECT_EQ(call("GET", "/server/v1/udf/self?udf_type=x", member).status, 400);
}

TEST_F(StateEndpoints, a_member_changes_his_own_an_owner_all_of_the_organisation_and_others_find_nothing) {
  const std::string owners = save(owner, "a"), members = save(member, "b");
  EXPECT_EQ(call("POST", "/server/v1/udf/by-id/" + owners, member, draft("a")).status, 404);
  EXPECT_EQ(call("DELETE", "/server/v1/udf/by-id/" + owners, member).status, 404);
  EXPECT_EQ(call("POST", "/server/v1/udf/by-id/" + members, stranger, draft("b")).status, 404);
  EXPECT_EQ(call("DELETE", "/server/v1/udf/by-id/" + members, stranger).status, 404);
  EXPECT_EQ(call("POST", "/server/v1/udf/by-id/" + members, owner, draft("b", "owner's")).status, 200);
  EXPECT_EQ(functions.by_id(members)->owner.username, "ann") << "it stays hers";
  EXPECT_EQ(call("DELETE", "/server/v1/udf/by-id/" + members, owner).status, 200);
}

TEST_F(StateEndpoints, a_share_token_is_made_listed_changed_and_revoked) {
  const std::string id = save(member, "tiles");
  const auto made =
      call("POST", "/server/v1/udf-access-token/new", member,
           R"({"udf_email":"ann@example.org","udf_slug":"tiles","client_id":"local","metadata_json":{"a":[1]},)"
           R"("public_read":null,"access_scope":null,"cache":true,"enabled":true,"expires_in":"24h"})");
  ASSERT_EQ(made.status, 200) << json::serialize(made.body);
  const std::string token = made.text("token");
  EXPECT_EQ(made.text("udf_id"), id);
  EXPECT_EQ(made.body.at("metadata_json"), json::parse(R"({"a":[1]})"));
  EXPECT_TRUE(made.body.at("expires_at").is_string());
  for (const char* name : {"udf_email", "udf_slug", "owning_user_id", "client_id", "public_read", "last_updated"})
    EXPECT_TRUE(made.body.as_object().contains(name)) << name;
  const std::string one = "/server/v1/udf-access-token/by-token/" + token;
  EXPECT_EQ(call("GET", one, member).text("token"), token);
  EXPECT_EQ(call("GET", one, owner).text("token"), token);
  EXPECT_EQ(call("GET", one, stranger).status, 404);
  EXPECT_EQ(call("GET", "/server/v1/udf-access-token/self", member).body.as_array().size(), 1u);
  EXPECT_EQ(call("GET", "/server/v1/udf-access-token/self", owner).body.as_array().size(), 0u);
  EXPECT_EQ(call("GET", "/server/v1/udf-access-token/all?skip=0&limit=25", owner).body.as_array().size(), 1u);
  EXPECT_EQ(call("GET", "/server/v1/udf-access-token/all", stranger).body.as_array().size(), 0u);

  EXPECT_EQ(call("POST", one, member, R"({"enabled":false})").body.at("enabled"), false);
  EXPECT_FALSE(shares.valid(token));
  EXPECT_EQ(call("POST", one, member, R"({"enabled":true,"expires_at":"2020-01-01T00:00:00Z"})").status, 400);
  EXPECT_EQ(call("POST", one, member, R"({"enabled":true,"expires_at":"tomorrow"})").status, 400);
  EXPECT_FALSE(shares.valid(token)) << "a refused change changes nothing";
  EXPECT_EQ(call("POST", one, member, R"({"enabled":true,"expires_at":"2999-01-01T00:00:00.5Z"})").status, 200);
  EXPECT_TRUE(shares.valid(token));
  EXPECT_EQ(call("DELETE", one, stranger).status, 404);
  EXPECT_EQ(call("DELETE", one, member).status, 200);
  EXPECT_FALSE(shares.valid(token));
  EXPECT_EQ(call("GET", one, member).status, 404);
  EXPECT_EQ(
      call("POST", "/server/v1/udf-access-token/new", stranger, json::serialize(json::object{{"udf_id", id}})).status,
      404);
  EXPECT_EQ(call("POST", "/server/v1/udf-access-token/new", member, "{}").status, 400);
}

TEST_F(StateEndpoints, a_share_token_shows_the_source_to_the_organisation_and_to_others_only_when_it_says_so) {
  const std::string token = share(owner, save(owner, "a"));
  const std::string path = "/server/v1/udf/shared/by-token/" + token;
  EXPECT_EQ(call("GET", path, member).text("slug"), "a");
  for (const std::string_view visitor : {std::string_view(), std::string_view(stranger), std::string_view(token)})
    EXPECT_EQ(call("GET", path, visitor).status, 404);
  const auto unknown = call("GET", "/server/v1/udf/shared/by-token/fsh_" + std::string(64, '0'));
  EXPECT_EQ(json::serialize(call("GET", path).body), json::serialize(unknown.body)) << "nothing is learnt by asking";
  ASSERT_EQ(call("POST", "/server/v1/udf-access-token/by-token/" + token, owner, R"({"public_read":true})").status,
            200);
  EXPECT_EQ(call("GET", path).text("slug"), "a");
}

TEST_F(StateEndpoints, a_function_of_a_folder_is_shared_by_its_file) {
  const User user = people.owner_of_server();
  const FunctionOwner whose{user.id, user.email, user.username, user.organisation};
  const auto serve = [&](FunctionStore& store, const std::string& file) {
    FunctionSource source;
    source.name = "hello";
    source.code = "def udf(): return 1";
    return *store.put_folder_function(whose, source, file);
  };
  const std::string id = serve(functions, "/served/hello.py");
  const std::string token = share(owner, id);
  ASSERT_TRUE(shares.valid(token));
  const std::string path = "/server/v1/udf/shared/by-token/" + token;
  EXPECT_EQ(call("GET", path, owner).status, 200);
  functions.remove_folder_function(user.id, "hello");
  EXPECT_EQ(call("GET", path, owner).status, 404);
  EXPECT_EQ(call("GET", "/server/v1/udf-access-token/by-token/" + token, owner).status, 200) << "it can be revoked";
  EXPECT_NE(serve(functions, "/elsewhere/hello.py"), id) << "another folder's file is another function";
  functions.remove_folder_function(user.id, "hello");
  FunctionStore next_start(database, data, clock);
  ASSERT_TRUE(next_start.start());
  EXPECT_EQ(serve(next_start, "/served/hello.py"), id) << "the token names it after a restart, too";
  EXPECT_EQ(serve(functions, "/served/hello.py"), id);
  EXPECT_EQ(call("GET", path, owner).status, 200);
  EXPECT_EQ(call("DELETE", "/server/v1/udf-access-token/by-token/" + token, owner).status, 200);
  EXPECT_EQ(call("GET", path, owner).status, 404);
}

TEST_F(StateEndpoints, an_owner_changes_a_role_and_nobody_else) {
  const std::string id = people.user_by_email("ann@example.org")->id;
  const std::string path = "/api/v1/users/" + id;
  EXPECT_EQ(call("POST", path, member, R"({"role":"owner"})").status, 403);
  EXPECT_EQ(call("POST", path, stranger, R"({"role":"owner"})").status, 404);
  EXPECT_EQ(call("POST", path, owner, R"({"role":"king"})").status, 400);
  EXPECT_EQ(call("POST", path, owner, "{}").status, 400);
  EXPECT_EQ(call("POST", path, owner, R"({"role":"owner"})").text("role"), "owner");
  EXPECT_EQ(call("GET", "/api/v1/users", member).body.as_array().size(), 2u);
  EXPECT_EQ(call("POST", path, owner, R"({"role":"member"})").status, 200);
  EXPECT_EQ(call("POST", "/api/v1/users/" + people.owner_of_server().id, owner, R"({"role":"member"})").status, 409);
}

TEST_F(StateEndpoints, deleting_a_function_ends_its_share_tokens) {
  const std::string id = save(owner, "a");
  const std::string token = share(owner, id);
  ASSERT_EQ(call("DELETE", "/server/v1/udf/by-id/" + id, owner).status, 200);
  EXPECT_FALSE(shares.valid(token));
  EXPECT_TRUE(shares.all().empty());
}

TEST_F(StateEndpoints, people_see_who_they_are_and_owners_make_users_and_tokens) {
  const auto me = call("GET", "/server/v1/user/self", member);
  EXPECT_EQ(me.text("email"), "ann@example.org");
  EXPECT_EQ(me.text("execution_environment_id"), "default");
  EXPECT_EQ(call("GET", "/server/v1/user/self", run).text("email"), "owner@localhost");
  EXPECT_EQ(call("GET", "/server/v1/realtime-instance/available", member).body,
            json::parse(R"([{"client_id":"local","preference_rank":0}])"));
  EXPECT_EQ(call("GET", "/server/v1/execution-env/self", member).text("id"), "default");
  EXPECT_EQ(call("GET", "/server/v1/execution-env/token", member).body.as_string(), member);
  EXPECT_EQ(call("GET", "/server/v1/execution-env/token", run).status, 403);
  EXPECT_EQ(call("GET", "/server/v1/collection/by-name/default", member).text("id"), me.text("id"));
  EXPECT_EQ(call("GET", "/server/v1/collection/by-name/canvas", member).status, 404);
  EXPECT_EQ(call("GET", "/server/v1/code-proxy/by-url?url=https://github.com/x", member).status, 403);

  EXPECT_EQ(call("GET", "/api/v1/users", owner).body.as_array().size(), 2u);
  EXPECT_EQ(call("GET", "/api/v1/users", member).body.as_array().size(), 1u) << "a member sees himself";
  EXPECT_EQ(call("POST", "/api/v1/users", member, R"({"email":"b@x","username":"b"})").status, 403);
  EXPECT_EQ(call("POST", "/api/v1/users", owner, R"({"email":"ann@example.org","username":"b"})").status, 409);
  EXPECT_EQ(call("POST", "/api/v1/users", owner, R"({"email":"b@x","username":"../b"})").status, 400);
  EXPECT_EQ(call("POST", "/api/v1/users", owner, R"({"email":"b@x","username":"b","role":"king"})").status, 400);

  const std::string id = me.text("id");
  const auto fresh = call("POST", "/api/v1/users/self/tokens", member, R"({"name":"laptop","expires_in":"2h"})");
  ASSERT_EQ(fresh.status, 200) << json::serialize(fresh.body);
  EXPECT_EQ(call("GET", "/server/v1/user/self", fresh.text("token")).status, 200);
  const auto tokens = call("GET", "/api/v1/users/" + id + "/tokens", owner).body.as_array();
  ASSERT_EQ(tokens.size(), 2u);
  EXPECT_FALSE(tokens[0].as_object().contains("token"));
  EXPECT_EQ(call("GET", "/api/v1/users/" + id + "/tokens", stranger).status, 404);
  EXPECT_EQ(call("DELETE", "/api/v1/users/self/tokens/" + fresh.text("id"), owner).status, 404) << "not his own";
  EXPECT_EQ(call("DELETE", "/api/v1/users/" + id + "/tokens/" + fresh.text("id"), owner).status, 200);
  EXPECT_EQ(call("GET", "/server/v1/user/self", fresh.text("token")).status, 401);
  EXPECT_EQ(call("POST", "/api/v1/users/" + id, owner, R"({"enabled":false})").body.at("enabled"), false);
  EXPECT_EQ(call("GET", "/server/v1/user/self", member).status, 401);
  EXPECT_EQ(call("POST", "/api/v1/users/" + id, owner, "{}").status, 400);
  EXPECT_EQ(call("POST", "/api/v1/organisations", stranger, R"({"name":"x","email":"x@x","username":"x"})").status,
            403);
}

TEST_F(StateEndpoints, a_save_that_names_its_revision_overwrites_no_other) {
  const std::string id = save(owner, "tiles");
  const std::string first = functions.by_id(id)->revision;
  FunctionDraft wanted;
  wanted.slug = "tiles";
  wanted.udf_body = R"({"code":"def udf(): return 2"})";
  const auto try_save = [&](const std::string& if_match) {
    return *save_if_current(functions, id, wanted, "x", if_match);
  };
  for (const std::string& tag :
       {std::string("\"none\""), "W/\"" + first + '"', std::string("\"\""), std::string(",")}) {
    const CheckedSave refused = try_save(tag);
    EXPECT_TRUE(refused.outdated) << tag;
    EXPECT_EQ(refused.function->revision, first);
    EXPECT_EQ(functions.by_id(id)->revision, first) << "nothing was saved";
    Request request;
    const Reply reply = reply_of_save(refused, request);
    EXPECT_EQ(reply.status, 412);
    const auto body = json::parse(reply.body.view).as_object();
    EXPECT_EQ(body.at("detail").as_string(), first);
    EXPECT_EQ(body.at("error_type").as_string(), "precondition_failed");
  }
  for (const char* form : {"", "*", "\"%\"", "%", "\"none\" ,\t\"%\"", "\"%-gzip\""}) {
    std::string tag = form;
    if (const auto at = tag.find('%'); at != tag.npos) tag.replace(at, 1, functions.by_id(id)->revision);
    EXPECT_FALSE(try_save(tag).outdated) << tag;
  }
  EXPECT_EQ(functions.revisions(id)->size(), 7u);
}

// Every row, as everybody: who has no right gets a refusal of the one shape and changes nothing.
TEST_F(StateEndpoints, every_route_refuses_nobody_and_visitors_and_shows_strangers_nothing) {
  const std::string id = save(owner, "secret");
  const std::string token = share(owner, id);
  const auto fill = [&](std::string pattern) {
    const std::pair<std::string_view, std::string> values[] = {
        {"{id}", id},          {"{email}", "owner@localhost"},
        {"{handle}", "owner"}, {"{collection}", "default"},
        {"{slug}", "secret"},  {"{token}", token},
        {"{name}", "default"}, {"{revision}", functions.by_id(id)->revision},
        {"{token_id}", "x"}};
    for (const auto& [name, value] : values)
      if (const auto at = pattern.find(name); at != pattern.npos) pattern.replace(at, name.size(), value);
    return pattern;
  };
  int asked = 0;
  for (const Route& route : router->routes()) {
    const std::string path = fill(route.pattern);
    for (const std::string& who : {std::string(), token, "fut_" + std::string(64, '0'), stranger, run}) {
      const auto answer = call(method_name(route.method), path, who, route.method == Method::post ? "{}" : "");
      const std::string text = json::serialize(answer.body);
      ++asked;
      const bool is_somebody = who == stranger || who == run;
      if (route.access == Access::share_path) {
        EXPECT_EQ(answer.status, who == run ? 200 : 404) << path;
      } else if (!is_somebody) {
        EXPECT_EQ(answer.status, who == token ? 403 : 401) << route.operation_id;
        EXPECT_TRUE(answer.body.as_object().contains("error_type")) << route.operation_id;
      } else if (who == run && (route.access == Access::signed_in || route.access == Access::owner)) {
        EXPECT_EQ(answer.status, 403) << route.operation_id;
      }
      if (who != run) {
        EXPECT_EQ(text.find("def udf"), std::string::npos) << route.operation_id << " shows the source";
      }
      if (who == stranger && path.find(id) != path.npos) {
        EXPECT_EQ(answer.status, 404) << route.operation_id;
      }
    }
  }
  std::printf("%zu routes, %d calls\n", router->routes().size(), asked);
  EXPECT_TRUE(functions.by_id(id));
  EXPECT_TRUE(shares.valid(token));
  EXPECT_EQ(people.users(people.organisation("default")->id).size(), 2u);
}

}  // namespace
}  // namespace fused
