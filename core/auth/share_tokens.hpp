// Share tokens: 256 bits that let a visitor run one function. state.db keeps their SHA-256 only. The text of a token is
// HMAC-SHA-256(DIR/share-key, token id), so that its owner can be shown his links again although no file holds them.
//
// Reads: any thread, from memory; a revoked token is dead for the next request. Writes: the state thread; on disk when
// they return.
#pragma once
#include <array>
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

struct ShareToken {
  std::string id;
  std::string function_id;
  std::string user_id;  // who made it
  bool enabled = true;
  bool cache = true;                    // results may be answered from the cache
  bool public_read = false;             // the token lets its holder read the source, too
  std::string access_scope = "public";  // who may use it, see check_share_scope
  std::optional<std::string> client_id;
  std::optional<std::string> metadata_json;  // JSON text, kept as it came
  std::int64_t created_at = 0;
  std::int64_t updated_at = 0;
  std::optional<std::int64_t> expires_at;
};

// access_scope of a token: "public" (or "world", the same): whoever has it; "team": who also sends a token of his own
// of the organisation; "private": only who made it.
bool is_share_scope(std::string_view scope);
bool is_for_everybody(const ShareToken& token);
// May `asker` use a token whose maker is of `organisation`? unauthenticated or forbidden says what it needs.
Status check_share_scope(const ShareToken& token, std::string_view organisation, const Actor& asker);

class ShareTokens {
 public:
  static constexpr std::size_t kOfFunctionMax = 10'000;
  static constexpr std::size_t kMetadataBytesMax = 64 << 10;

  ShareTokens(Database& database, const DataFolder& data, const Clock& clock);
  Status start();  // reads them and the key; makes the key at the first start

  // `token.id` and the times are filled in. invalid_argument for an expiry that has passed.
  Result<ShareToken> create(ShareToken token);
  // Replaces what a caller may change: enabled, cache, public_read, access_scope, client_id, metadata_json, expires_at.
  Result<ShareToken> update(ShareToken token);
  Status revoke(std::string_view id);
  Status revoke_of_function(std::string_view function_id);

  // The token that lets its holder in now: known, enabled, not expired.
  std::optional<ShareToken> valid(std::string_view text) const;
  // The record behind a token's text or id, in any state: for those who manage it.
  std::optional<ShareToken> record(std::string_view text_or_id) const;
  std::vector<ShareToken> of_function(std::string_view function_id) const;
  std::vector<ShareToken> of_user(std::string_view user_id) const;  // in order of their making
  std::vector<ShareToken> all() const;                              // likewise
  // "fsh_" and 64 hex digits; the id when the key has been lost (the token works on, but cannot be shown).
  std::string text_of(const ShareToken& token) const;

 private:
  template <class F>
  std::vector<ShareToken> those(F&& wanted) const;
  std::string derived(std::string_view id) const;
  std::int64_t seconds_now() const;

  Database& database_;
  const DataFolder& data_;
  const Clock& clock_;
  std::array<unsigned char, 32> key_{};
  mutable std::shared_mutex mutex_;                        // of everything below
  std::map<std::string, ShareToken, std::less<>> tokens_;  // by id
  std::unordered_map<std::string, std::string> id_of_hash_;
  std::map<std::string, std::string, std::less<>> hash_of_id_;
};

}  // namespace fused
