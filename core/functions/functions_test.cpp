#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fstream>

#include "base/ids.hpp"
#include "functions/function_json.hpp"
#include "functions/function_store.hpp"
#include "storage/failing_sync.hpp"
#include "storage/migrations.hpp"
#include "storage/test_folder.hpp"

namespace fused {
namespace {

using namespace std::chrono_literals;
namespace json = boost::json;

struct MovableClock : Clock {
  WallTime time = WallTime(std::chrono::seconds(1'800'000'000));
  WallTime now() const override { return time; }
};

const FunctionOwner kOwner{"u1", "owner@localhost", "owner", "default"};
const FunctionOwner kMember{"u2", "ann@example.org", "ann", "default"};
const FunctionOwner kStranger{"u3", "eve@acme.example", "eve", "acme"};

struct Server {
  MovableClock clock;
  DataFolder data;
  Database database;
  FunctionStore functions{database, data, clock};

  explicit Server(const std::filesystem::path& root)
      : data(*DataFolder::open(root)), database(*Database::open(data.state_db(), data.gate())) {
    init_random();
    EXPECT_TRUE(migrate(database));
    EXPECT_TRUE(
        database.script("INSERT OR IGNORE INTO organisation VALUES ('o1', 'default', 1), ('o2', 'acme', 1);"
                        "INSERT OR IGNORE INTO user VALUES ('u1', 'o1', 'owner@localhost', 'owner', 'owner', 1, 1),"
                        " ('u2', 'o1', 'ann@example.org', 'ann', 'member', 1, 1), ('u3', 'o2', 'eve@acme.example', "
                        "'eve', 'owner', 1, 1)"));
    const Status started = functions.start();
    EXPECT_TRUE(started) << started.error().message;
  }
};

FunctionDraft draft(std::string slug, std::string code = "@fused.udf\ndef udf(): return 1") {
  FunctionDraft made;
  made.slug = std::move(slug);
  made.udf_body =
      json::serialize(json::object{{"name", "x"}, {"code", code}, {"headers", json::array()}, {"cache_max_age", 60}});
  return made;
}

struct Functions : testing::Test {
  TestFolder folder;
  std::filesystem::path root = folder / "data";
};

TEST_F(Functions, a_save_is_found_every_way_and_keeps_its_body_to_the_byte) {
  Server server(root);
  FunctionDraft wanted = draft("tiles");
  wanted.udf_body = R"( {"code" : "def udf(): pass",  "unknown":[1e400e, 1]} )";
  EXPECT_EQ(server.functions.save_new(kMember, wanted, kMember.email).error().kind, ErrorKind::unprocessable);
  wanted.udf_body = R"( {"code" : "def udf(): pass",  "unknown":[1.50, 1], "metadata": null} )";
  const auto saved = server.functions.save_new(kMember, wanted, kMember.email);
  ASSERT_TRUE(saved) << saved.error().message;
  const std::string id = (*saved)->id;
  for (const auto& found :
       {server.functions.by_id(id), server.functions.by_email("ann@example.org", "default", "tiles"),
        server.functions.by_email("Ann@Example.ORG", "default", "tiles"),
        server.functions.by_handle("default", "ann", "default", "tiles"),
        server.functions.in_organisation("default", "default", "tiles")}) {
    ASSERT_TRUE(found);
    EXPECT_EQ(found->id, id);
    EXPECT_EQ(*found->udf_body, wanted.udf_body);
    EXPECT_EQ(found->source->code, "def udf(): pass");
    EXPECT_EQ(found->source->name, "tiles");
    EXPECT_EQ(found->source->id, id);
    EXPECT_EQ(found->source->owner_id, "u2");
    EXPECT_EQ(found->source->owner_email, "ann@example.org");
    EXPECT_EQ(found->source->organisation, "default");
    EXPECT_EQ(found->source->revision, found->revision);
  }
  EXPECT_FALSE(server.functions.by_email("owner@localhost", "default", "tiles"));
  EXPECT_FALSE(server.functions.by_email("ann@example.org", "other", "tiles"));
  EXPECT_FALSE(server.functions.in_organisation("acme", "default", "tiles"));
  EXPECT_FALSE(server.functions.by_id("none"));
}

TEST_F(Functions, a_taken_name_is_a_conflict_and_another_owner_may_have_it) {
  Server server(root);
  const auto first = *server.functions.save_new(kMember, draft("a"), "");
  const auto again = server.functions.save_new(kMember, draft("a"), "");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind, ErrorKind::conflict);
  EXPECT_NE(again.error().message.find(first->id), std::string::npos);
  EXPECT_TRUE(server.functions.save_new(kOwner, draft("a"), ""));
  EXPECT_EQ(server.functions.in_organisation("default", "default", "a")->created_at, first->created_at);
  const auto second = *server.functions.save_new(kMember, draft("b"), "");
  EXPECT_EQ(server.functions.save_over(second->id, draft("a"), "").error().kind, ErrorKind::conflict);
  EXPECT_EQ(server.functions.by_id(second->id)->slug, "b");
}

TEST_F(Functions, a_save_over_keeps_the_id_may_rename_and_makes_a_revision) {
  Server server(root);
  const auto first = *server.functions.save_new(kMember, draft("a", "one"), "ann@example.org");
  server.clock.time += 90s;
  const auto second = *server.functions.save_over(first->id, draft("b", "two"), "owner@localhost");
  EXPECT_EQ(second->id, first->id);
  EXPECT_NE(second->revision, first->revision);
  EXPECT_EQ(second->created_at, first->created_at);
  EXPECT_EQ(second->updated_at, first->updated_at + 90);
  EXPECT_NE(second->source->code_hash, first->source->code_hash);
  EXPECT_FALSE(server.functions.by_email("ann@example.org", "default", "a"));
  EXPECT_EQ(server.functions.by_email("ann@example.org", "default", "b")->source->code, "two");
  EXPECT_EQ(first->source->code, "one") << "who holds the old one keeps it";
  EXPECT_EQ(server.functions.save_over("none", draft("c"), "").error().kind, ErrorKind::not_found);

  const auto revisions = *server.functions.revisions(first->id);
  ASSERT_EQ(revisions.size(), 2u);
  EXPECT_EQ(revisions[0].number, 2);
  EXPECT_EQ(revisions[0].saved_by, "owner@localhost");
  EXPECT_EQ(revisions[1].id, first->revision);
  EXPECT_EQ(revisions[1].slug, "a");
}

TEST_F(Functions, a_history_file_waits_for_the_object_store_until_it_was_sent_also_over_a_restart_and_a_removal) {
  std::vector<std::string> told;
  std::string id;
  {
    Server server(root);
    server.functions.set_saved([&](const std::string& path) { told.push_back(path); });
    id = (*server.functions.save_new(kMember, draft("a", "one"), kMember.email))->id;
    ASSERT_TRUE(server.functions.save_over(id, draft("a", "two"), kMember.email));
    ASSERT_TRUE(server.functions.save_over(id, draft("a", "three"), kMember.email));
    EXPECT_EQ(told.size(), 3u);
    for (const auto& path : told) EXPECT_TRUE(std::filesystem::exists(root / path)) << path;
    ASSERT_TRUE(server.functions.history_sent({told.at(1)}));
    ASSERT_TRUE(server.functions.remove(id));
  }
  Server server(root);
  std::vector<std::string> expected{told.at(0), told.at(2)};
  std::ranges::sort(expected);
  EXPECT_EQ(*server.functions.unsent_history(), expected);
}

TEST_F(Functions, every_save_writes_the_seeds_history_file) {
  Server server(root);
  const auto first = *server.functions.save_new(kMember, draft("a", "one"), "ann@example.org");
  const auto second = *server.functions.save_over(first->id, draft("a", "two"), "ann@example.org");
  const auto history = root / "s3/fused-users/default/fused-system/history" / first->id / "2027-01-15";
  for (const auto& saved : {first, second}) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(history / saved->revision))
      files.push_back(entry.path());
    ASSERT_EQ(files.size(), 1u);
    EXPECT_EQ(files[0].filename(), "2027-01-15T08-00-00.000000Z.json");
    const auto snapshot = json::parse(file_text(files[0])).as_object();
    EXPECT_EQ(snapshot.at("code").as_string(), saved->source->code);
    EXPECT_EQ(snapshot.at("udf_body").as_string(), *saved->udf_body);
    EXPECT_EQ(*server.functions.revision_text(first->id, saved->revision), file_text(files[0]));
  }
  EXPECT_EQ(server.functions.revision_text(first->id, "none").error().kind, ErrorKind::not_found);
  ASSERT_TRUE(server.functions.remove(first->id));
  EXPECT_TRUE(std::filesystem::exists(history / first->revision)) << "history outlives the function";
}

TEST_F(Functions, a_revision_is_found_by_id_and_number_runs_as_it_was_and_can_be_saved_again) {
  Server server(root);
  FunctionDraft one = draft("a", "one");
  one.message = "the first, größer";
  const auto first = *server.functions.save_new(kMember, one, "ann@example.org");
  const auto second = *server.functions.save_over(first->id, draft("b", "two"), "owner@localhost");
  const auto listed = *server.functions.revisions(first->id);
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0].message, "");
  EXPECT_EQ(listed[1].message, one.message);
  EXPECT_EQ(server.functions.revisions(first->id, 1, 1)->front().number, 1);
  EXPECT_TRUE(server.functions.revisions(first->id, 2)->empty());
  for (const std::string& name : {std::string("1"), first->revision}) {
    EXPECT_EQ(server.functions.revision(first->id, name)->id, first->revision);
    const auto source = *server.functions.revision_source(first->id, name);
    EXPECT_EQ(source->code, "one");
    EXPECT_EQ(source->revision, first->revision);
    EXPECT_EQ(source->name, "b") << "its function's name of today";
    EXPECT_EQ(source->owner_id, "u2");
    EXPECT_EQ(source->code_hash, first->source->code_hash);
  }
  const auto text = json::parse(*server.functions.revision_text(first->id, "1")).as_object();
  EXPECT_EQ(text.at("message").as_string(), one.message);
  const auto again = *server.functions.revision_draft(first->id, "1");
  EXPECT_EQ(again.slug, "b");
  const auto third = *server.functions.save_over(first->id, again, "ann@example.org");
  EXPECT_EQ(third->source->code, "one");
  EXPECT_EQ(*third->udf_body, *first->udf_body);
  EXPECT_EQ(server.functions.revisions(first->id)->front().number, 3);
  EXPECT_NE(server.functions.revisions(first->id)->front().message.find(first->revision), std::string::npos);

  for (const char* unknown : {"0", "4", "-1", "", "1 OR 1", "99999999999999999999"})
    EXPECT_EQ(server.functions.revision(first->id, unknown).error().kind, ErrorKind::not_found) << unknown;
  const auto other = *server.functions.save_new(kOwner, draft("other"), "");
  EXPECT_EQ(server.functions.revision(other->id, first->revision).error().kind, ErrorKind::not_found)
      << "a revision of another function";
  FunctionDraft talkative = draft("b");
  talkative.message = std::string(FunctionStore::kMessageBytesMax + 1, 'm');
  EXPECT_EQ(server.functions.save_over(first->id, talkative, "").error().kind, ErrorKind::invalid_argument);
}

TEST_F(Functions, a_history_file_that_is_gone_or_holds_something_else_is_named_and_never_run) {
  Server server(root);
  const auto first = *server.functions.save_new(kMember, draft("a", "one"), "");
  const auto second = *server.functions.save_over(first->id, draft("a", "two"), "");
  const auto path = [&](const SharedSaved& saved) {
    return root / server.functions.revision(saved->id, saved->revision)->path;
  };
  const std::string whole = file_text(path(first));
  std::string other = whole;
  for (std::size_t at = other.find("one"); at != other.npos; at = other.find("one", at)) other.replace(at, 3, "evil");
  for (const std::string& bytes : {std::string(), std::string("{}"), other, whole.substr(0, whole.size() / 2),
                                   std::string("[]"), file_text(path(second))}) {
    std::ofstream(path(first), std::ios::trunc | std::ios::binary) << bytes;
    for (const auto& error : {server.functions.revision_text(first->id, "1").error(),
                              server.functions.revision_source(first->id, "1").error(),
                              server.functions.revision_draft(first->id, "1").error()}) {
      EXPECT_EQ(error.kind, ErrorKind::internal);
      EXPECT_NE(error.message.find(server.functions.revision(first->id, "1")->path), std::string::npos);
    }
  }
  std::filesystem::remove(path(first));
  EXPECT_NE(server.functions.revision_source(first->id, "1").error().message.find("restore"), std::string::npos);
  EXPECT_EQ((*server.functions.revision_source(first->id, "2"))->code, "two");
}

TEST_F(Functions, all_is_there_after_a_restart_and_a_removed_one_is_not) {
  std::string kept, removed, hash;
  {
    Server server(root);
    const auto a = *server.functions.save_new(kMember, draft("a"), "");
    kept = a->id;
    hash = a->source->code_hash;
    removed = (*server.functions.save_new(kOwner, draft("b"), ""))->id;
    ASSERT_TRUE(server.functions.remove(removed));
    EXPECT_FALSE(server.functions.by_id(removed));
    EXPECT_EQ(server.functions.remove(removed).error().kind, ErrorKind::not_found);
  }
  const Server server(root);
  ASSERT_TRUE(server.functions.by_id(kept));
  EXPECT_EQ(server.functions.by_id(kept)->source->code_hash, hash);
  EXPECT_EQ(server.functions.by_id(kept)->source->cache_max_age_seconds, 60);
  EXPECT_FALSE(server.functions.by_id(removed));
  EXPECT_EQ(server.functions.count(), 1u);
}

TEST_F(Functions, a_disk_that_fails_at_any_sync_of_a_save_acknowledges_nothing_and_stops_saving) {
  int syncs = 0;
  {
    TestFolder counted;
    Server server(counted / "data");
    let_syncs_pass();
    ASSERT_TRUE(server.functions.save_new(kMember, draft("a"), ""));
    syncs = syncs_seen();
  }
  ASSERT_GE(syncs, 3);
  for (int nth = 1; nth <= syncs; ++nth) {
    TestFolder own;
    {
      Server server(own / "data");
      fail_sync_at(nth, EIO);
      const auto saved = server.functions.save_new(kMember, draft("a"), "");
      let_syncs_pass();
      EXPECT_FALSE(saved) << "sync " << nth << " of " << syncs;
      EXPECT_FALSE(server.functions.by_email(kMember.email, "default", "a"));
      EXPECT_EQ(server.functions.save_new(kMember, draft("b"), "").error().kind, ErrorKind::unavailable);
    }
    Server restarted(own / "data");
    EXPECT_TRUE(restarted.functions.save_new(kMember, draft("c"), ""));
  }
}

TEST_F(Functions, lists_by_owner_organisation_and_type_in_pages) {
  Server server(root);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(server.functions.save_new(kMember, draft("f" + std::to_string(i)), ""));
  FunctionDraft app = draft("app");
  app.udf_type = "app";
  ASSERT_TRUE(server.functions.save_new(kMember, app, ""));
  ASSERT_TRUE(server.functions.save_new(kOwner, draft("mine"), ""));
  ASSERT_TRUE(server.functions.save_new(kStranger, draft("theirs"), ""));
  const auto names = [&](FunctionFilter filter) {
    std::string text;
    for (const auto& function : server.functions.list(filter)) text += function->slug + " ";
    return text;
  };
  EXPECT_EQ(names({.owner_id = "u2"}), "app f0 f1 f2 f3 f4 ");
  EXPECT_EQ(names({.owner_id = "u2", .udf_type = "udf"}), "f0 f1 f2 f3 f4 ");
  EXPECT_EQ(names({.owner_id = "u2", .udf_type = "app"}), "app ");
  EXPECT_EQ(names({.owner_id = "u2", .skip = 4, .limit = 1}), "f3 ");
  EXPECT_EQ(names({.owner_id = "u2", .skip = 6}), "");
  EXPECT_EQ(names({.owner_id = "u2", .skip = SIZE_MAX, .limit = SIZE_MAX}), "");
  EXPECT_EQ(names({.organisation = "default", .skip = 5}), "f4 mine ");
  EXPECT_EQ(names({.organisation = "acme"}), "theirs ");
}

TEST_F(Functions, those_of_a_folder_are_found_first_and_never_stored) {
  {
    Server server(root);
    const auto saved = *server.functions.save_new(kOwner, draft("hello", "saved"), "");
    FunctionSource source;
    source.name = "hello";
    source.code = "from the folder";
    const auto id = server.functions.put_folder_function(kOwner, source, "/f/hello.py");
    ASSERT_TRUE(id);
    EXPECT_EQ(server.functions.by_email("owner@localhost", "default", "hello")->source->code, "from the folder");
    EXPECT_EQ(server.functions.by_id(saved->id)->source->code, "saved");
    const auto before = server.functions.by_id(*id);
    source.code = "changed";
    EXPECT_EQ(server.functions.put_folder_function(kOwner, source, "/f/hello.py"), *id) << "the id stays";
    const auto after = server.functions.by_id(*id);
    EXPECT_EQ(after->source->code, "changed");
    EXPECT_NE(after->source->code_hash, before->source->code_hash);
    EXPECT_NE(after->revision, before->revision);
    EXPECT_EQ(function_of_text(*after->udf_body)->code, "changed");
    EXPECT_EQ(server.functions.put_folder_function(kOwner, source, "/f/deep/hello.py").error().kind,
              ErrorKind::conflict);
    EXPECT_EQ(server.functions.save_over(*id, draft("hello"), "").error().kind, ErrorKind::conflict);
    EXPECT_EQ(server.functions.remove(*id).error().kind, ErrorKind::conflict);
    EXPECT_EQ(server.functions.save_new(kOwner, draft("hello"), "").error().kind, ErrorKind::conflict);
    EXPECT_EQ(server.functions.list({.owner_id = "u1"}).size(), 2u);
    server.functions.remove_folder_function("u1", "hello");
    EXPECT_EQ(server.functions.by_email("owner@localhost", "default", "hello")->source->code, "saved");
    source.code = "caf\xe9";
    EXPECT_EQ(server.functions.put_folder_function(kOwner, source, "/f/hello.py").error().kind,
              ErrorKind::unprocessable);
    source.code = "ok";
    ASSERT_TRUE(server.functions.put_folder_function(kOwner, source, "/f/hello.py"));
  }
  EXPECT_EQ(Server(root).functions.count(), 1u);
}

TEST(FunctionNames, letters_of_any_script_pass_and_what_breaks_paths_urls_or_eyes_does_not) {
  for (const std::string name :
       {"udf", "Get_Isochrone-2", "größe", "都市", "a b", "v1.2", "x@y", "Überblick (alt)", "ª"})
    EXPECT_TRUE(check_function_name(name)) << name;
  const std::vector<std::string> refused{"",
                                         ".",
                                         "..",
                                         ".hidden",
                                         "../x",
                                         "a/b",
                                         "a\\b",
                                         std::string("a\0b", 3),
                                         "a\nb",
                                         " a",
                                         "a ",
                                         "a?b",
                                         "a#b",
                                         "a%2fb",
                                         "a:b",
                                         "a*b",
                                         "a\"b",
                                         "<b>",
                                         "rocket🚀",
                                         "heart❤️",
                                         "a\u200bb",
                                         "a\u202eb",
                                         "a\u00a0b",
                                         "\ufeffa",
                                         std::string(256, 'a'),
                                         std::string(300, 'a'),
                                         "\xff",
                                         "a\u2028b"};
  for (const auto& name : refused) {
    const Status status = check_function_name(name);
    ASSERT_FALSE(status) << shown(name);
    EXPECT_EQ(status.error().kind, ErrorKind::invalid_argument);
    EXPECT_NE(status.error().message.find("function name"), std::string::npos) << status.error().message;
  }
  EXPECT_NE(check_function_name("rocket🚀").error().message.find("U+1F680"), std::string::npos);
}

TEST_F(Functions, a_bad_draft_is_refused_by_name_and_leaves_nothing) {
  Server server(root);
  const auto kind = [&](const FunctionDraft& bad) {
    const auto saved = server.functions.save_new(kOwner, bad, "");
    EXPECT_FALSE(saved);
    return saved ? ErrorKind::internal : saved.error().kind;
  };
  EXPECT_EQ(kind(draft("a/b")), ErrorKind::invalid_argument);
  for (const std::string body :
       {"", "[]", "\"text\"", "{", "{}", R"({"code": 1})", R"({"code": "a\u0000b"})", "{\"code\": \"\xff\"}",
        R"({"code": "\ud800"})", R"({"code": "", "headers": 1})", R"({"code": "", "headers": [1]})",
        R"({"code": "", "headers": [{"source_code": "x"}]})", R"({"code": "", "entrypoint": 1})",
        R"({"code": "", "parameters": []})", R"({"code": "", "cache_max_age": -1})",
        R"({"code": "", "cache_max_age": 1.5})", R"({"code": "", "cache_max_age": "3 weeks"})"}) {
    FunctionDraft bad = draft("a");
    bad.udf_body = body;
    EXPECT_EQ(kind(bad), ErrorKind::unprocessable) << shown(body);
  }
  FunctionDraft deep = draft("a");
  deep.udf_body = std::string(100'000, '[');
  EXPECT_EQ(kind(deep), ErrorKind::unprocessable);
  FunctionDraft large = draft("a", std::string(FunctionStore::kBodyBytesMax, 'x'));
  EXPECT_EQ(kind(large), ErrorKind::too_large);
  FunctionDraft odd = draft("a");
  odd.udf_type = "batch";
  EXPECT_EQ(kind(odd), ErrorKind::invalid_argument);
  odd = draft("a");
  odd.collection_name = "canvas";
  EXPECT_EQ(kind(odd), ErrorKind::not_found);
  EXPECT_EQ(server.functions.count(), 0u);
  EXPECT_FALSE(std::filesystem::exists(root / "s3/fused-users/default/fused-system/history"));
}

TEST(FunctionJson, takes_code_headers_entry_point_parameters_and_age) {
  const auto source = function_of_text(R"({"name":"n","code":"c","entrypoint":"main","headers":[{"module_name":"m",
      "source_code":"s","source_file":"m.py"}],"parameters":{"x":[1]},"cache_max_age":"2h","metadata":{"fused:id":1}})");
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_EQ(source->entrypoint, "main");
  ASSERT_EQ(source->headers.size(), 1u);
  EXPECT_EQ(source->headers[0].source_code, "s");
  EXPECT_EQ(source->parameters.at("x").as_array().size(), 1u);
  EXPECT_EQ(source->cache_max_age_seconds, 7'200);
  const auto again = function_of_text(json_of_function(*source));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->code_hash, source->code_hash);
  EXPECT_EQ(again->cache_max_age_seconds, 7'200);
  EXPECT_FALSE(function_of_text(R"({"code":"c","cache_max_age":null})")->cache_max_age_seconds);
}

TEST(FunctionJson, the_hash_tells_apart_what_concatenation_would_not) {
  FunctionSource a, b;
  a.code = "x1:y";
  b.code = "x";
  b.entrypoint = "y";
  EXPECT_NE(code_hash_of(a), code_hash_of(b));
  a.code = b.code = "x";
  b.entrypoint = "";
  EXPECT_EQ(code_hash_of(a), code_hash_of(b));
  b.headers.push_back({"m", ""});
  EXPECT_NE(code_hash_of(a), code_hash_of(b));
}

}  // namespace
}  // namespace fused
