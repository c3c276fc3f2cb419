#include "http/endpoints/people.hpp"

#include <boost/json/array.hpp>

#include "auth/authenticator.hpp"
#include "auth/names.hpp"
#include "auth/permissions.hpp"
#include "storage/path_resolver.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

json::object user_record(const User& user) {
  return {{"id", user.id},
          {"email", user.email},
          {"username", user.username},
          {"role", role_name(user.role)},
          {"organisation", user.organisation},
          {"enabled", user.enabled},
          {"created_at", utc_text(user.created_at)}};
}

json::object api_token_record(const ApiToken& token) {
  return {{"id", token.id},
          {"name", token.name},
          {"user_id", token.user_id},
          {"created_at", utc_text(token.created_at)},
          {"expires_at", utc_or_null(token.expires_at)}};
}

json::object with_token(json::object record, const NewApiToken& fresh) {
  record["token"] = fresh.token;
  return record;
}

// The user of {id} ("self": the one who asks), when the actor may manage him.
Result<User> manageable(const StateParts& parts, const Request& request) {
  std::string id = path_value_of(request, "id");
  if (id == "self") id = request.actor.user_id;
  auto user = parts.people->user(id);
  if (!user || !may_write(request.actor, user->organisation, user->id))
    return fail(ErrorKind::not_found, "there is no user with the id '" + shown(id) + "' whom you may manage");
  return *std::move(user);
}

struct NewUser {
  std::string email;
  std::string username;
  Role role = Role::member;
};

Result<Role> role_of(const BodyObject& body, std::string_view default_role) {
  const std::string text = FUSED_TRY(body.text("role", default_role));
  const auto role = parse_role(text);
  if (!role)
    return fail(ErrorKind::invalid_argument, "'role' is '" + shown(text) + "'; it must be 'owner' or 'member'");
  return *role;
}

Result<NewUser> new_user_of(const BodyObject& body, std::string_view default_role) {
  const Role role = FUSED_TRY(role_of(body, default_role));
  return NewUser{FUSED_TRY(body.text("email")), FUSED_TRY(body.text("username")), role};
}

Result<json::object> create_user_with_token(People& people, std::string_view organisation_id, const NewUser& wanted) {
  const User user = FUSED_TRY(people.create_user(organisation_id, wanted.email, wanted.username, wanted.role));
  return with_token(user_record(user), FUSED_TRY(people.create_token(user.id, "first", std::nullopt)));
}

}  // namespace

asio::awaitable<Reply> WhoAmI::operator()(Request& request) const {
  const Actor& actor = request.actor;
  co_return json_reply(json::object{{"id", actor.user_id},
                                    {"email", actor.email},
                                    {"name", actor.username},
                                    {"username", actor.username},
                                    {"handle", actor.username},
                                    {"role", role_name(actor.role)},
                                    {"organisation", actor.organisation},
                                    {"execution_environment_id", actor.organisation},
                                    {"home", "s3://fused-users/" + actor.organisation + "/" + actor.username + "/"}});
}

asio::awaitable<Reply> ListInstances::operator()(Request&) const {
  co_return json_reply(json::array{json::object{{"client_id", "local"}, {"preference_rank", 0}}});
}

asio::awaitable<Reply> GetEnvironment::operator()(Request& request) const {
  const std::string& name = request.actor.organisation;
  const auto organisation = parts.people->organisation(name);
  if (!organisation) co_return error_reply({ErrorKind::not_found, "you belong to no organisation", {}}, request);
  co_return json_reply(json::object{{"id", name},
                                    {"name", name},
                                    {"organisation_id", organisation->id},
                                    {"users", parts.people->users(organisation->id).size()},
                                    {"home", "s3://fused-users/" + name + "/"}});
}

asio::awaitable<Reply> GetEnvironmentToken::operator()(Request& request) const {
  const auto token = token_of_header(request.header("authorization"));
  if (request.actor.kind != ActorKind::user || token.empty())
    co_return error_reply({ErrorKind::forbidden, "only a user who sends his own token is given it back", {}}, request);
  co_return json_reply(json::value(token));
}

asio::awaitable<Reply> ListUsers::operator()(Request& request) const {
  json::array records;
  if (const auto organisation = parts.people->organisation(request.actor.organisation))
    for (const User& user : parts.people->users(organisation->id))
      if (may_write(request.actor, user.organisation, user.id)) records.push_back(user_record(user));
  co_return json_reply(std::move(records));
}

asio::awaitable<Reply> CreateUser::operator()(Request& request) const {
  auto wanted = [&]() -> Result<NewUser> { return new_user_of(FUSED_TRY(BodyObject::of(request)), "member"); }();
  if (!wanted) co_return error_reply(wanted.error(), request);
  const auto organisation = parts.people->organisation(request.actor.organisation);
  if (!organisation || request.actor.role != Role::owner)
    co_return error_reply({ErrorKind::forbidden, "only an owner may make users", {}}, request);
  auto work = [people = parts.people, id = organisation->id, wanted = *std::move(wanted)] {
    return create_user_with_token(*people, id, wanted);
  };
  const auto made = co_await parts.thread->run(std::move(work));
  co_return reply_of_result(made, request, [](const json::object& record) { return record; });
}

asio::awaitable<Reply> UpdateUser::operator()(Request& request) const {
  const auto user = manageable(parts, request);
  if (!user) co_return error_reply(user.error(), request);
  if (request.actor.role != Role::owner)
    co_return error_reply({ErrorKind::forbidden, "only an owner may change users", {}}, request);
  struct Change {
    std::optional<bool> enabled;
    std::optional<Role> role;
  };
  const auto wanted = [&]() -> Result<Change> {
    const BodyObject body = FUSED_TRY(BodyObject::of(request));
    Change change;
    if (body.find("enabled")) change.enabled = FUSED_TRY(body.yes_or_no("enabled", true));
    if (body.find("role")) change.role = FUSED_TRY(role_of(body, ""));
    if (!change.enabled && !change.role)
      return fail(ErrorKind::invalid_argument,
                  "name what to change: 'enabled' (true or false), 'role' ('owner' or 'member')");
    return change;
  }();
  if (!wanted) co_return error_reply(wanted.error(), request);
  auto work = [people = parts.people, id = user->id, change = *wanted]() -> Result<User> {
    Result<User> changed = fail(ErrorKind::internal, "nothing to change");
    if (change.role) changed = FUSED_TRY(people->set_role(id, *change.role));
    if (change.enabled) changed = FUSED_TRY(people->set_enabled(id, *change.enabled));
    return changed;
  };
  const auto changed = co_await parts.thread->run(std::move(work));
  co_return reply_of_result(changed, request, user_record);
}

asio::awaitable<Reply> ListApiTokens::operator()(Request& request) const {
  co_return reply_of_result(manageable(parts, request), request, [&](const User& user) {
    json::array records;
    for (const ApiToken& token : parts.people->tokens(user.id)) records.push_back(api_token_record(token));
    return records;
  });
}

asio::awaitable<Reply> CreateApiToken::operator()(Request& request) const {
  const auto user = manageable(parts, request);
  if (!user) co_return error_reply(user.error(), request);
  struct Wanted {
    std::string name;
    std::optional<std::chrono::seconds> life;
  };
  auto wanted = [&]() -> Result<Wanted> {
    const BodyObject body = FUSED_TRY(BodyObject::of(request));
    Wanted token{FUSED_TRY(body.text("name", "unnamed")), std::nullopt};
    const std::int64_t now = seconds_now(*parts.clock);
    if (const auto expiry = FUSED_TRY(expiry_of(body, now)); expiry && *expiry)
      token.life = std::chrono::seconds(**expiry - now);
    return token;
  }();
  if (!wanted) co_return error_reply(wanted.error(), request);
  auto work = [people = parts.people, id = user->id, wanted = *std::move(wanted)] {
    return people->create_token(id, wanted.name, wanted.life);
  };
  const auto made = co_await parts.thread->run(std::move(work));
  co_return reply_of_result(made, request,
                            [](const NewApiToken& fresh) { return with_token(api_token_record(fresh.record), fresh); });
}

asio::awaitable<Reply> RevokeApiToken::operator()(Request& request) const {
  const auto user = manageable(parts, request);
  if (!user) co_return error_reply(user.error(), request);
  const std::string id = path_value_of(request, "token_id");
  const auto token = parts.people->token(id);
  if (!token || token->user_id != user->id)
    co_return error_reply({ErrorKind::not_found, "this user has no token with the id '" + shown(id) + "'", {}},
                          request);
  auto work = [people = parts.people, id] { return people->revoke_token(id); };
  const auto revoked = co_await parts.thread->run(std::move(work));
  if (!revoked) co_return error_reply(revoked.error(), request);
  co_return json_reply(api_token_record(*token));
}

asio::awaitable<Reply> CreateOrganisation::operator()(Request& request) const {
  if (request.actor.organisation != "default" || request.actor.role != Role::owner)
    co_return error_reply({ErrorKind::forbidden, "only an owner of the organisation 'default' may make others", {}},
                          request);
  struct Wanted {
    std::string name;
    NewUser owner;
  };
  auto wanted = [&]() -> Result<Wanted> {
    const BodyObject body = FUSED_TRY(BodyObject::of(request));
    Wanted made{FUSED_TRY(body.text("name")), FUSED_TRY(new_user_of(body, "owner"))};
    if (made.owner.role != Role::owner)
      return fail(ErrorKind::invalid_argument, "an organisation's first user is an owner");
    return made;
  }();
  if (!wanted) co_return error_reply(wanted.error(), request);
  auto work = [people = parts.people, wanted = *std::move(wanted)]() -> Result<json::object> {
    if (people->user_by_email(wanted.owner.email))
      return fail(ErrorKind::conflict, "there is a user with the e-mail '" + shown(wanted.owner.email) + "' already");
    // Before the organisation is made: one without an owner could not be mended.
    FUSED_CHECK(check_email(wanted.owner.email));
    FUSED_CHECK(check_user_name(wanted.owner.username, "user name"));
    const Organisation organisation = FUSED_TRY(people->create_organisation(wanted.name));
    json::object owner = FUSED_TRY(create_user_with_token(*people, organisation.id, wanted.owner));
    return json::object{{"id", organisation.id}, {"name", organisation.name}, {"owner", std::move(owner)}};
  };
  const auto made = co_await parts.thread->run(std::move(work));
  co_return reply_of_result(made, request, [](const json::object& record) { return record; });
}

}  // namespace fused
