#include "auth/people.hpp"

#include <algorithm>
#include <mutex>

#include "auth/names.hpp"
#include "base/ids.hpp"
#include "storage/durable_write.hpp"

namespace fused {
namespace {

constexpr std::string_view kTokenPrefix = "fut_";
constexpr std::string_view kTokenFileName = "DIR/token";  // name of the token that the file holds
constexpr std::size_t kTokenFileBytesMax = 4'096;

bool is_over(const std::optional<std::int64_t>& expires_at, std::int64_t now) {
  return expires_at && *expires_at <= now;
}

std::string without_line_end(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

}  // namespace

std::string_view role_name(Role role) {
  switch (role) {
    case Role::owner: return "owner";
    case Role::member: return "member";
    case Role::none: break;
  }
  return "none";
}

std::optional<Role> parse_role(std::string_view text) {
  if (text == "owner") return Role::owner;
  if (text == "member") return Role::member;
  return std::nullopt;
}

Actor actor_of_user(const User& user) {
  Actor actor;
  actor.kind = ActorKind::user;
  actor.role = user.role;
  actor.user_id = user.id;
  actor.email = user.email;
  actor.username = user.username;
  actor.organisation = user.organisation;
  return actor;
}

People::People(Database& database, const DataFolder& data, const Clock& clock)
    : database_(database), data_(data), clock_(clock) {}

std::int64_t People::seconds_now() const {
  return std::chrono::floor<std::chrono::seconds>(clock_.now().time_since_epoch()).count();
}

Status People::start() {
  FUSED_CHECK(load());
  if (users_.empty()) FUSED_CHECK(make_first_owner());
  // Folders are made again where someone removed them, before a function looks for them.
  for (const auto& [id, user] : users_) FUSED_CHECK(data_.make_home(user.organisation, user.username));
  return keep_token_file();
}

Status People::load() {
  const std::unique_lock lock(mutex_);
  FUSED_CHECK(database_.query("SELECT id, name FROM organisation", {}, [&](const Row& row) {
    organisations_.emplace(row.text(0), Organisation{row.text(0), row.text(1)});
  }));
  FUSED_CHECK(database_.query(
      "SELECT id, organisation_id, email, username, role, enabled, created_at FROM user", {}, [&](const Row& row) {
        User user{row.text(0),         row.text(1),   organisations_[row.text(1)].name,
                  row.text(2),         row.text(3),   parse_role(row.text(4)).value_or(Role::member),
                  row.integer(5) != 0, row.integer(6)};
        users_.emplace(row.text(0), std::move(user));
      }));
  return database_.query("SELECT id, hash, user_id, name, created_at, expires_at FROM api_token", {},
                         [&](const Row& row) {
                           ApiToken token{row.text(0), row.text(2), row.text(3), row.integer(4), std::nullopt};
                           if (!row.is_null(5)) token.expires_at = row.integer(5);
                           keys_.emplace(row.text(1), Key{actor_of_user(users_[token.user_id]), token.expires_at});
                           hash_of_token_.emplace(token.id, row.text(1));
                           tokens_.emplace(token.id, std::move(token));
                         });
}

Status People::make_first_owner() {
  auto organisation = this->organisation("default");
  if (!organisation) organisation = FUSED_TRY(create_organisation("default"));
  FUSED_CHECK(create_user(organisation->id, "owner@localhost", "owner", Role::owner));
  return {};
}

User People::owner_of_server() const {
  const std::shared_lock lock(mutex_);
  const User* first = nullptr;
  for (const auto& [id, user] : users_)
    if (user.organisation == "default" && user.role == Role::owner && user.enabled &&
        (first == nullptr || user.created_at < first->created_at ||
         (user.created_at == first->created_at && user.id < first->id)))
      first = &user;
  return first == nullptr ? User{} : *first;
}

Status People::keep_token_file() {
  const User owner = owner_of_server();
  const auto text = data_.files().read("token", kTokenFileBytesMax);
  if (text && actor_of(without_line_end(*text)).user_id == owner.id) return {};
  // Also after a start that was killed between the token and its file: then nobody has that token.
  for (const ApiToken& old : tokens(owner.id))
    if (old.name == kTokenFileName) FUSED_CHECK(revoke_token(old.id));
  const NewApiToken fresh = FUSED_TRY(create_token(owner.id, std::string(kTokenFileName), std::nullopt));
  return durable_write(data_.gate(), data_.files().root_fd(), "token", fresh.token + "\n");
}

Result<Organisation> People::create_organisation(std::string name) {
  FUSED_CHECK(check_user_name(name, "organisation name"));
  if (organisation(name)) return fail(ErrorKind::conflict, "there is an organisation '" + name + "' already");
  const Organisation made{new_uuid(), std::move(name)};
  FUSED_CHECK(database_.run("INSERT INTO organisation VALUES (?, ?, ?)", {made.id, made.name, seconds_now()}));
  const std::unique_lock lock(mutex_);
  organisations_.emplace(made.id, made);
  return made;
}

Result<User> People::create_user(std::string_view organisation_id, std::string email, std::string username, Role role) {
  FUSED_CHECK(check_email(email));
  FUSED_CHECK(check_user_name(username, "user name"));
  if (role == Role::none) return fail(ErrorKind::invalid_argument, "role must be 'owner' or 'member'");
  if (user_by_email(email)) return fail(ErrorKind::conflict, "there is a user with the e-mail '" + email + "' already");
  User made;
  {
    const std::shared_lock lock(mutex_);
    const auto organisation = organisations_.find(organisation_id);
    if (organisation == organisations_.end()) return fail(ErrorKind::not_found, "no such organisation");
    for (const auto& [id, user] : users_)
      if (user.organisation_id == organisation_id && user.username == username)
        return fail(ErrorKind::conflict, "there is a user '" + username + "' in this organisation already");
    if (users_.size() >= kUsersMax)
      return fail(ErrorKind::conflict, "there are " + std::to_string(kUsersMax) + " users, more are not kept");
    made = User{new_uuid(), organisation->first, organisation->second.name, std::move(email), std::move(username), role,
                true,       seconds_now()};
  }
  FUSED_CHECK(data_.make_home(made.organisation, made.username));
  FUSED_CHECK(database_.run(
      "INSERT INTO user (id, organisation_id, email, username, role, enabled, created_at) VALUES (?, ?, ?, ?, ?, 1, ?)",
      {made.id, made.organisation_id, made.email, made.username, role_name(made.role), made.created_at}));
  const std::unique_lock lock(mutex_);
  users_.emplace(made.id, made);
  return made;
}

Status People::check_not_last_owner(const User& user) const {
  if (user.role != Role::owner) return {};
  const auto others = users(user.organisation_id);
  const auto goes_on = [&](const User& other) {
    return other.id != user.id && other.role == Role::owner && other.enabled;
  };
  if (std::ranges::any_of(others, goes_on)) return {};
  return fail(ErrorKind::conflict,
              "'" + user.email + "' is the last owner of '" + user.organisation + "'; make another owner first");
}

Result<User> People::set_role(std::string_view user_id, Role role) {
  const auto found = user(user_id);
  if (!found) return fail(ErrorKind::not_found, "no such user");
  if (role == Role::none) return fail(ErrorKind::invalid_argument, "role must be 'owner' or 'member'");
  if (role != Role::owner) FUSED_CHECK(check_not_last_owner(*found));
  FUSED_CHECK(database_.run("UPDATE user SET role = ? WHERE id = ?", {role_name(role), found->id}));
  const std::unique_lock lock(mutex_);
  users_[found->id].role = role;
  for (auto& [hash, key] : keys_)
    if (key.actor.user_id == found->id) key.actor.role = role;
  return users_[found->id];
}

Result<User> People::set_enabled(std::string_view user_id, bool enabled) {
  auto found = user(user_id);
  if (!found) return fail(ErrorKind::not_found, "no such user");
  if (!enabled) FUSED_CHECK(check_not_last_owner(*found));
  FUSED_CHECK(database_.transaction([&]() -> Status {
    FUSED_CHECK(database_.run("UPDATE user SET enabled = ? WHERE id = ?", {enabled, found->id}));
    if (!enabled) FUSED_CHECK(database_.run("DELETE FROM api_token WHERE user_id = ?", {found->id}));
    return {};
  }));
  const std::unique_lock lock(mutex_);
  users_[found->id].enabled = enabled;
  if (!enabled)
    std::erase_if(tokens_, [&](const auto& entry) {
      if (entry.second.user_id != found->id) return false;
      keys_.erase(hash_of_token_[entry.first]);
      hash_of_token_.erase(entry.first);
      return true;
    });
  return users_[found->id];
}

Result<NewApiToken> People::create_token(std::string_view user_id, std::string name,
                                         std::optional<std::chrono::seconds> life) {
  const auto owner = user(user_id);
  if (!owner) return fail(ErrorKind::not_found, "no such user");
  if (!owner->enabled) return fail(ErrorKind::conflict, "user '" + owner->email + "' is disabled; enable him first");
  FUSED_CHECK(check_label(name, "token name"));
  if (life && life->count() <= 0)
    return fail(ErrorKind::invalid_argument, "a token's life must be longer than 0 seconds");
  if (tokens(user_id).size() >= kTokensOfUserMax)
    return fail(ErrorKind::conflict,
                "user '" + owner->email + "' has " + std::to_string(kTokensOfUserMax) + " tokens; revoke one first");
  NewApiToken fresh{{new_uuid(), owner->id, std::move(name), seconds_now(), std::nullopt}, new_token(kTokenPrefix)};
  if (life) fresh.record.expires_at = fresh.record.created_at + life->count();
  const std::string hash = sha256_hex(fresh.token);
  const Value expires = life ? Value(*fresh.record.expires_at) : Value(nullptr);
  FUSED_CHECK(
      database_.run("INSERT INTO api_token (id, hash, user_id, name, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
                    {fresh.record.id, hash, owner->id, fresh.record.name, fresh.record.created_at, expires}));
  const std::unique_lock lock(mutex_);
  tokens_.emplace(fresh.record.id, fresh.record);
  hash_of_token_.emplace(fresh.record.id, hash);
  keys_.emplace(hash, Key{actor_of_user(*owner), fresh.record.expires_at});
  return fresh;
}

Status People::revoke_token(std::string_view token_id) {
  if (!token(token_id)) return fail(ErrorKind::not_found, "no such token");
  FUSED_CHECK(database_.run("DELETE FROM api_token WHERE id = ?", {token_id}));
  const std::unique_lock lock(mutex_);
  const auto hash = hash_of_token_.find(token_id);
  keys_.erase(hash->second);
  hash_of_token_.erase(hash);
  tokens_.erase(tokens_.find(token_id));
  return {};
}

Actor People::actor_of(std::string_view token) const {
  const std::string hash = sha256_hex(token);
  const std::shared_lock lock(mutex_);
  const auto key = keys_.find(hash);
  if (key == keys_.end() || is_over(key->second.expires_at, seconds_now())) return {};
  return key->second.actor;
}

std::optional<User> People::user(std::string_view id) const {
  const std::shared_lock lock(mutex_);
  const auto found = users_.find(id);
  return found == users_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<User> People::user_by_email(std::string_view email) const {
  const std::shared_lock lock(mutex_);
  for (const auto& [id, user] : users_)
    if (same_email(user.email, email)) return user;
  return std::nullopt;
}

std::vector<User> People::users(std::string_view organisation_id) const {
  std::vector<User> found;
  const std::shared_lock lock(mutex_);
  for (const auto& [id, user] : users_)
    if (user.organisation_id == organisation_id) found.push_back(user);
  std::ranges::stable_sort(found, {}, &User::created_at);
  return found;
}

std::vector<ApiToken> People::tokens(std::string_view user_id) const {
  std::vector<ApiToken> found;
  const std::shared_lock lock(mutex_);
  for (const auto& [id, token] : tokens_)
    if (token.user_id == user_id) found.push_back(token);
  std::ranges::stable_sort(found, {}, &ApiToken::created_at);
  return found;
}

std::optional<ApiToken> People::token(std::string_view id) const {
  const std::shared_lock lock(mutex_);
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<Organisation> People::organisation(std::string_view name) const {
  const std::shared_lock lock(mutex_);
  for (const auto& [id, organisation] : organisations_)
    if (organisation.name == name) return organisation;
  return std::nullopt;
}

}  // namespace fused
