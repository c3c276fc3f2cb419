#include "auth/share_tokens.hpp"

#include <sodium.h>

#include <algorithm>
#include <mutex>

#include "auth/names.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"
#include "storage/durable_write.hpp"

namespace fused {
namespace {

constexpr std::string_view kPrefix = "fsh_";
constexpr std::string_view kKeyFile = "share-key";

static_assert(crypto_auth_hmacsha256_KEYBYTES == 32 && crypto_auth_hmacsha256_BYTES == 32);

std::string hex(const unsigned char* bytes, std::size_t count) {
  std::string text(count * 2 + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), bytes, count);
  text.pop_back();
  return text;
}

Value or_null(const std::optional<std::string>& text) { return text ? Value(*text) : Value(nullptr); }
Value or_null(const std::optional<std::int64_t>& number) { return number ? Value(*number) : Value(nullptr); }

Status check_token(const ShareToken& token, std::int64_t now) {
  if (!is_share_scope(token.access_scope))
    return fail(ErrorKind::invalid_argument, "access_scope '" + printable(token.access_scope.substr(0, 40)) +
                                                 "' is unknown; it is public (or world), team or private");
  if (token.client_id) FUSED_CHECK(check_label(*token.client_id, "client_id"));
  if (token.metadata_json && token.metadata_json->size() > ShareTokens::kMetadataBytesMax)
    return fail(ErrorKind::too_large, "metadata_json has " + std::to_string(token.metadata_json->size()) +
                                          " bytes, allowed are " + std::to_string(ShareTokens::kMetadataBytesMax));
  if (token.expires_at && *token.expires_at <= now)
    return fail(ErrorKind::invalid_argument, "the token's expiry lies in the past");
  return {};
}

}  // namespace

bool is_share_scope(std::string_view scope) {
  return scope == "public" || scope == "world" || scope == "team" || scope == "private";
}

bool is_for_everybody(const ShareToken& token) {
  return token.access_scope == "public" || token.access_scope == "world";
}

Status check_share_scope(const ShareToken& token, std::string_view organisation, const Actor& asker) {
  if (is_for_everybody(token)) return {};
  const bool is_person = asker.kind == ActorKind::user || asker.kind == ActorKind::run;
  const bool is_team = token.access_scope == "team";
  if (is_person && asker.organisation == organisation && (is_team || asker.user_id == token.user_id)) return {};
  const std::string whom = is_team ? "members of its organisation" : "who made it";
  if (!is_person)
    return fail(ErrorKind::unauthenticated, "this share token is for " + whom +
                                                ": send a token of your own in the header 'Authorization: Bearer "
                                                "<token>', or ask for a share token with access_scope public");
  return fail(ErrorKind::forbidden, "this share token is for " + whom + " only");
}

ShareTokens::ShareTokens(Database& database, const DataFolder& data, const Clock& clock)
    : database_(database), data_(data), clock_(clock) {}

std::int64_t ShareTokens::seconds_now() const {
  return std::chrono::floor<std::chrono::seconds>(clock_.now().time_since_epoch()).count();
}

Status ShareTokens::start() {
  auto key = data_.files().read(kKeyFile, 256);
  if (!key && key.error().kind == ErrorKind::not_found) {
    key = new_token("") + "\n";
    FUSED_CHECK(durable_write(data_.gate(), data_.files().root_fd(), kKeyFile, *key));
  }
  if (!key) return std::unexpected(key.error());
  std::size_t length = 0;
  if (sodium_hex2bin(key_.data(), key_.size(), key->data(), key->size(), "\n", &length, nullptr) != 0 ||
      length != key_.size())
    return fail(ErrorKind::conflict, (data_.path() / kKeyFile).string() +
                                         " does not hold 64 hex digits; restore it from a backup, or remove it (share "
                                         "tokens then work on but cannot be shown again)");
  const std::unique_lock lock(mutex_);
  return database_.query(
      "SELECT id, hash, function_id, user_id, enabled, cache, public_read, access_scope, client_id, metadata_json,"
      " created_at, updated_at, expires_at FROM share_token",
      {}, [&](const Row& row) {
        ShareToken token{
            row.text(0), row.text(2), row.text(3), row.integer(4) != 0, row.integer(5) != 0, row.integer(6) != 0,
            row.text(7), {},          {},          row.integer(10),     row.integer(11),     {}};
        if (!row.is_null(8)) token.client_id = row.text(8);
        if (!row.is_null(9)) token.metadata_json = row.text(9);
        if (!row.is_null(12)) token.expires_at = row.integer(12);
        id_of_hash_.emplace(row.text(1), token.id);
        hash_of_id_.emplace(token.id, row.text(1));
        tokens_.emplace(token.id, std::move(token));
      });
}

std::string ShareTokens::derived(std::string_view id) const {
  std::array<unsigned char, crypto_auth_hmacsha256_BYTES> mac{};
  crypto_auth_hmacsha256(mac.data(), reinterpret_cast<const unsigned char*>(id.data()), id.size(), key_.data());
  return std::string(kPrefix) + hex(mac.data(), mac.size());
}

std::string ShareTokens::text_of(const ShareToken& token) const {
  std::string text = derived(token.id);
  const std::string hash = sha256_hex(text);
  const std::shared_lock lock(mutex_);
  const auto kept = hash_of_id_.find(token.id);
  return kept != hash_of_id_.end() && kept->second == hash ? text : token.id;
}

Result<ShareToken> ShareTokens::create(ShareToken token) {
  token.created_at = token.updated_at = seconds_now();
  FUSED_CHECK(check_token(token, token.created_at));
  if (of_function(token.function_id).size() >= kOfFunctionMax)
    return fail(ErrorKind::conflict,
                "this function has " + std::to_string(kOfFunctionMax) + " share tokens; revoke one first");
  token.id = new_uuid();
  const std::string hash = sha256_hex(derived(token.id));
  FUSED_CHECK(database_.run(
      "INSERT INTO share_token (id, hash, function_id, user_id, enabled, cache, public_read, access_scope, client_id,"
      " metadata_json, created_at, updated_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      {token.id, hash, token.function_id, token.user_id, token.enabled, token.cache, token.public_read,
       token.access_scope, or_null(token.client_id), or_null(token.metadata_json), token.created_at, token.updated_at,
       or_null(token.expires_at)}));
  const std::unique_lock lock(mutex_);
  id_of_hash_.emplace(hash, token.id);
  hash_of_id_.emplace(token.id, hash);
  tokens_.emplace(token.id, token);
  return token;
}

Result<ShareToken> ShareTokens::update(ShareToken token) {
  const auto before = record(token.id);
  if (!before) return fail(ErrorKind::not_found, "no such share token");
  token.updated_at = seconds_now();
  // A token that ended can still be renamed or disabled; a new end must lie ahead.
  FUSED_CHECK(check_token(token, token.expires_at == before->expires_at ? INT64_MIN : token.updated_at));
  token.function_id = before->function_id;
  token.user_id = before->user_id;
  token.created_at = before->created_at;
  FUSED_CHECK(
      database_.run("UPDATE share_token SET enabled = ?, cache = ?, public_read = ?, access_scope = ?, client_id = ?, "
                    "metadata_json = ?,"
                    " updated_at = ?, expires_at = ? WHERE id = ?",
                    {token.enabled, token.cache, token.public_read, token.access_scope, or_null(token.client_id),
                     or_null(token.metadata_json), token.updated_at, or_null(token.expires_at), token.id}));
  const std::unique_lock lock(mutex_);
  tokens_[token.id] = token;
  return token;
}

Status ShareTokens::revoke(std::string_view id) {
  if (!record(id)) return fail(ErrorKind::not_found, "no such share token");
  FUSED_CHECK(database_.run("DELETE FROM share_token WHERE id = ?", {id}));
  const std::unique_lock lock(mutex_);
  const auto hash = hash_of_id_.find(id);
  id_of_hash_.erase(hash->second);
  hash_of_id_.erase(hash);
  tokens_.erase(tokens_.find(id));
  return {};
}

Status ShareTokens::revoke_of_function(std::string_view function_id) {
  FUSED_CHECK(database_.run("DELETE FROM share_token WHERE function_id = ?", {function_id}));
  const std::unique_lock lock(mutex_);
  std::erase_if(tokens_, [&](const auto& entry) {
    if (entry.second.function_id != function_id) return false;
    id_of_hash_.erase(hash_of_id_[entry.first]);
    hash_of_id_.erase(entry.first);
    return true;
  });
  return {};
}

std::optional<ShareToken> ShareTokens::valid(std::string_view text) const {
  const std::string hash = sha256_hex(text);
  const std::int64_t now = seconds_now();
  const std::shared_lock lock(mutex_);
  const auto id = id_of_hash_.find(hash);
  if (id == id_of_hash_.end()) return std::nullopt;
  const ShareToken& token = tokens_.find(id->second)->second;
  if (!token.enabled || (token.expires_at && *token.expires_at <= now)) return std::nullopt;
  return token;
}

std::optional<ShareToken> ShareTokens::record(std::string_view text_or_id) const {
  const std::string hash = sha256_hex(text_or_id);
  const std::shared_lock lock(mutex_);
  const auto id = id_of_hash_.find(hash);
  const auto found = tokens_.find(id == id_of_hash_.end() ? text_or_id : std::string_view(id->second));
  return found == tokens_.end() ? std::nullopt : std::optional(found->second);
}

template <class F>
std::vector<ShareToken> ShareTokens::those(F&& wanted) const {
  std::vector<ShareToken> found;
  const std::shared_lock lock(mutex_);
  for (const auto& [id, token] : tokens_)
    if (wanted(token)) found.push_back(token);
  std::ranges::stable_sort(found, {}, &ShareToken::created_at);
  return found;
}

std::vector<ShareToken> ShareTokens::of_function(std::string_view function_id) const {
  return those([&](const ShareToken& token) { return token.function_id == function_id; });
}
std::vector<ShareToken> ShareTokens::of_user(std::string_view user_id) const {
  return those([&](const ShareToken& token) { return token.user_id == user_id; });
}
std::vector<ShareToken> ShareTokens::all() const {
  return those([](const ShareToken&) { return true; });
}

}  // namespace fused
