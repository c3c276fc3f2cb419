#include "auth/cache_secrets.hpp"

#include <sodium.h>

#include "base/ids.hpp"
#include "storage/durable_write.hpp"

namespace fused {
namespace {

constexpr std::string_view kKeyFile = "cache-key";
static_assert(crypto_auth_hmacsha256_KEYBYTES == 32 && crypto_auth_hmacsha256_BYTES == 32);

bool read_key(std::array<unsigned char, 32>& key, const std::string& text) {
  std::size_t length = 0;
  return sodium_hex2bin(key.data(), key.size(), text.data(), text.size(), "\n", &length, nullptr) == 0 &&
         length == key.size();
}

}  // namespace

Result<CacheSecrets> CacheSecrets::open(const DataFolder& data) {
  CacheSecrets secrets;
  const auto kept = data.files().read(kKeyFile, 256);
  if (!kept && kept.error().kind != ErrorKind::not_found) return std::unexpected(kept.error());
  if (kept && read_key(secrets.key_, *kept)) return secrets;
  const std::string text = new_token("") + "\n";
  FUSED_CHECK(durable_write(data.gate(), data.files().root_fd(), kKeyFile, text));
  if (!read_key(secrets.key_, text)) return fail(ErrorKind::internal, "a new cache-key cannot be read");
  return secrets;
}

std::string CacheSecrets::of(std::string_view organisation, std::string_view owner_id) const {
  std::string message = "function cache ";
  message += std::to_string(organisation.size());  // no two pairs give one text
  message += ' ';
  message += organisation;
  message += owner_id;
  std::array<unsigned char, crypto_auth_hmacsha256_BYTES> mac{};
  crypto_auth_hmacsha256(mac.data(), reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                         key_.data());
  std::string text(mac.size() * 2 + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), mac.data(), mac.size());
  text.pop_back();
  return text;
}

}  // namespace fused
