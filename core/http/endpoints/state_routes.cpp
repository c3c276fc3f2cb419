#include "http/endpoints/state_routes.hpp"

#include "http/endpoints/functions.hpp"
#include "http/endpoints/people.hpp"
#include "http/endpoints/revisions.hpp"
#include "http/endpoints/share_tokens.hpp"

namespace fused {
namespace {

constexpr std::int64_t kSmallBody = 256 << 10;  // of everything but a function

void add_functions(std::vector<Route>& rows, StateParts& parts) {
  using enum Method;
  using Of = GetFunctionByName::Of;
  using Whose = ListFunctions::Whose;
  const std::string udf = "/server/v1/udf";
  rows.push_back({post, udf + "/new", Access::signed_in, SaveFunction{parts}, "save_function"});
  rows.push_back({get, udf + "/by-id/{id}", Access::run_or_user, GetFunction{parts}, "get_function"});
  rows.push_back({post, udf + "/by-id/{id}", Access::signed_in, SaveOverFunction{parts}, "save_over_function"});
  rows.push_back({delete_, udf + "/by-id/{id}", Access::signed_in, DeleteFunction{parts}, "delete_function"});
  struct Named {
    std::string prefix;
    Of of;
    std::string operation;
  };
  for (const Named& named : {Named{udf + "/by-user-email/{email}", Of::email, "get_function_of_email"},
                             Named{udf + "/by-user-handle/{handle}", Of::handle, "get_function_of_handle"},
                             Named{udf + "/exec-env/self", Of::team, "get_function_of_team"},
                             Named{udf + "/public", Of::everybody, "get_public_function"}}) {
    const GetFunctionByName get_it{parts, named.of};
    rows.push_back({get, named.prefix + "/by-collection/{collection}/by-slug/{slug}", Access::run_or_user, get_it,
                    named.operation + "_in_collection"});
    rows.push_back({get, named.prefix + "/by-slug/{slug}", Access::run_or_user, get_it, named.operation});
  }
  rows.push_back(
      {get, udf + "/shared/by-token/{token}", Access::share_path, GetSharedFunction{parts}, "get_shared_function"});
  rows.push_back({get, udf + "/self", Access::run_or_user, ListFunctions{parts, Whose::own}, "list_own_functions"});
  rows.push_back(
      {get, udf + "/exec-env/self", Access::run_or_user, ListFunctions{parts, Whose::team}, "list_team_functions"});
  rows.push_back(
      {get, udf + "/public", Access::run_or_user, ListFunctions{parts, Whose::everybody}, "list_public_functions"});
  rows.push_back({get, "/server/v1/code-proxy/by-url", Access::run_or_user, RefuseCodeProxy{}, "code_proxy"});
  const std::string own = "/api/v1/functions/{id}/revisions";
  rows.push_back({get, own, Access::run_or_user, ListRevisions{parts}, "list_revisions"});
  rows.push_back({get, own + "/{revision}", Access::run_or_user, GetRevision{parts}, "get_revision"});
  rows.push_back(
      {post, own + "/{revision}/revert", Access::signed_in, RevertFunction{parts}, "revert_function", kSmallBody});
}

void add_collections(std::vector<Route>& rows, StateParts& parts) {
  using enum Method;
  const std::string collection = "/server/v1/collection";
  rows.push_back({get, collection + "/by-name/{name}", Access::run_or_user, GetCollection{parts}, "get_collection"});
  for (const auto& [path, operation] : {std::pair<std::string, std::string>{"/self", "list_own_collections"},
                                        {"/self/lite", "list_own_collections_lite"},
                                        {"/exec-env", "list_team_collections"},
                                        {"/exec-env/lite", "list_team_collections_lite"}})
    rows.push_back({get, collection + path, Access::run_or_user, GetCollection{parts, true}, operation});
}

void add_share_tokens(std::vector<Route>& rows, StateParts& parts) {
  using enum Method;
  const std::string token = "/server/v1/udf-access-token";
  const std::string one = token + "/by-token/{token}";
  rows.push_back({post, token + "/new", Access::signed_in, CreateShareToken{parts}, "create_share_token", kSmallBody});
  rows.push_back({get, token + "/self", Access::signed_in, ListShareTokens{parts}, "list_share_tokens"});
  rows.push_back({get, token + "/all", Access::signed_in, ListShareTokens{parts, true}, "list_all_share_tokens"});
  rows.push_back({get, one, Access::signed_in, GetShareToken{parts}, "get_share_token"});
  rows.push_back({post, one, Access::signed_in, UpdateShareToken{parts}, "update_share_token", kSmallBody});
  rows.push_back({delete_, one, Access::signed_in, RevokeShareToken{parts}, "revoke_share_token"});
}

void add_people(std::vector<Route>& rows, StateParts& parts) {
  using enum Method;
  const std::string v1 = "/server/v1";
  const std::string users = "/api/v1/users";
  rows.push_back({get, v1 + "/user/self", Access::run_or_user, WhoAmI{parts}, "who_am_i"});
  rows.push_back({get, v1 + "/realtime-instance", Access::run_or_user, ListInstances{}, "list_instances"});
  rows.push_back(
      {get, v1 + "/realtime-instance/available", Access::run_or_user, ListInstances{}, "list_available_instances"});
  rows.push_back({get, v1 + "/execution-env/self", Access::run_or_user, GetEnvironment{parts}, "get_environment"});
  rows.push_back({get, v1 + "/execution-env/token", Access::signed_in, GetEnvironmentToken{}, "get_environment_token"});
  rows.push_back({get, users, Access::signed_in, ListUsers{parts}, "list_users"});
  rows.push_back({post, users, Access::owner, CreateUser{parts}, "create_user", kSmallBody});
  rows.push_back({post, users + "/{id}", Access::owner, UpdateUser{parts}, "update_user", kSmallBody});
  rows.push_back({get, users + "/{id}/tokens", Access::signed_in, ListApiTokens{parts}, "list_tokens"});
  rows.push_back({post, users + "/{id}/tokens", Access::signed_in, CreateApiToken{parts}, "create_token", kSmallBody});
  rows.push_back(
      {delete_, users + "/{id}/tokens/{token_id}", Access::signed_in, RevokeApiToken{parts}, "revoke_token"});
  rows.push_back(
      {post, "/api/v1/organisations", Access::owner, CreateOrganisation{parts}, "create_organisation", kSmallBody});
}

}  // namespace

std::vector<Route> state_routes(StateParts& parts) {
  std::vector<Route> rows;
  add_functions(rows, parts);
  add_collections(rows, parts);
  add_share_tokens(rows, parts);
  add_people(rows, parts);
  return rows;
}

}  // namespace fused
