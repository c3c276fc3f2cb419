// Organisations, users and their API tokens. Kept in state.db; answered from memory.
//
// Reads: any thread. Writes (everything that gives a Result or Status): the state thread; they are on disk when they
// return. A revoked or expired token and one that never was are told apart by nobody.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "auth/actor.hpp"
#include "base/clock.hpp"
#include "base/result.hpp"
#include "storage/data_folder.hpp"
#include "storage/database.hpp"

namespace fused {

struct Organisation {
  std::string id;
  std::string name;  // one path component: s3/fused-users/<name>
};

struct User {
  std::string id;
  std::string organisation_id;
  std::string organisation;
  std::string email;     // unique on the server, case-insensitively; a folder name in the logs
  std::string username;  // unique in the organisation; the name of the home
  Role role = Role::member;
  bool enabled = true;
  std::int64_t created_at = 0;  // seconds since 1970, as all such
};

struct ApiToken {
  std::string id;
  std::string user_id;
  std::string name;
  std::int64_t created_at = 0;
  std::optional<std::int64_t> expires_at;
};

struct NewApiToken {
  ApiToken record;
  std::string token;  // shown this once; only its hash is kept
};

class People {
 public:
  static constexpr std::size_t kUsersMax = 10'000;  // of the server
  static constexpr std::size_t kTokensOfUserMax = 1'000;

  // What is handed in must outlive it. The database is migrated already.
  People(Database& database, const DataFolder& data, const Clock& clock);
  // Reads everything; at the first start makes organisation `default` with user `owner` (owner@localhost). Afterwards
  // DIR/token holds a working token of that owner: a lost or dead one is replaced, and the one before revoked.
  Status start();

  // conflict when the name, e-mail or user name is taken; invalid_argument names the value and the rule.
  Result<Organisation> create_organisation(std::string name);
  Result<User> create_user(std::string_view organisation_id, std::string email, std::string username, Role role);
  // His tokens die, his functions stay. Enabled again, he needs new tokens. The last owner cannot be disabled.
  Result<User> set_enabled(std::string_view user_id, bool enabled);
  // His tokens have the new rights from the next request on. The last enabled owner stays one.
  Result<User> set_role(std::string_view user_id, Role role);
  // `life`: nothing for no end.
  Result<NewApiToken> create_token(std::string_view user_id, std::string name,
                                   std::optional<std::chrono::seconds> life);
  Status revoke_token(std::string_view token_id);

  Actor actor_of(std::string_view token) const;  // nobody when unknown, revoked or expired
  std::optional<User> user(std::string_view id) const;
  std::optional<User> user_by_email(std::string_view email) const;
  std::vector<User> users(std::string_view organisation_id) const;  // in order of their making
  std::vector<ApiToken> tokens(std::string_view user_id) const;     // newest last
  std::optional<ApiToken> token(std::string_view id) const;
  std::optional<Organisation> organisation(std::string_view name) const;
  User owner_of_server() const;  // the one whose token lies in DIR/token

 private:
  struct Key {
    Actor actor;
    std::optional<std::int64_t> expires_at;
  };
  Status check_not_last_owner(const User& user) const;
  Status load();
  Status make_first_owner();
  Status keep_token_file();
  std::int64_t seconds_now() const;

  Database& database_;
  const DataFolder& data_;
  const Clock& clock_;
  mutable std::shared_mutex mutex_;                                 // of everything below
  std::map<std::string, Organisation, std::less<>> organisations_;  // by id
  std::map<std::string, User, std::less<>> users_;                  // by id
  std::map<std::string, ApiToken, std::less<>> tokens_;             // by id
  std::map<std::string, std::string, std::less<>> hash_of_token_;   // by id
  std::unordered_map<std::string, Key> keys_;                       // by token hash
};

std::string_view role_name(Role role);                  // "owner", "member", "none"
std::optional<Role> parse_role(std::string_view text);  // "owner" or "member"
Actor actor_of_user(const User& user);

}  // namespace fused
