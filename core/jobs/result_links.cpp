#include "jobs/result_links.hpp"

#include <sodium.h>

#include <charconv>

#include "base/ids.hpp"
#include "storage/durable_write.hpp"

namespace fused {
namespace {

constexpr std::string_view kKeyFile = "job-link-key";
static_assert(crypto_auth_hmacsha256_KEYBYTES == 32);

bool read_key(std::array<unsigned char, 32>& key, const std::string& text) {
  std::size_t length = 0;
  return sodium_hex2bin(key.data(), key.size(), text.data(), text.size(), "\n", &length, nullptr) == 0 &&
         length == key.size();
}

}  // namespace

Result<ResultLinks> ResultLinks::open(const DataFolder& data) {
  ResultLinks links;
  const auto kept = data.files().read(kKeyFile, 256);
  if (!kept && kept.error().kind != ErrorKind::not_found) return std::unexpected(kept.error());
  if (kept && read_key(links.key_, *kept)) return links;
  const std::string text = new_token("") + "\n";
  FUSED_CHECK(durable_write(data.gate(), data.files().root_fd(), kKeyFile, text));
  if (!read_key(links.key_, text)) return fail(ErrorKind::internal, "a new job-link-key cannot be read");
  return links;
}

std::string ResultLinks::mac(std::string_view text) const {
  const std::string message = "job files " + std::string(text);
  std::array<unsigned char, crypto_auth_hmacsha256_BYTES> bytes{};
  crypto_auth_hmacsha256(bytes.data(), reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                         key_.data());
  std::string hex(bytes.size() * 2 + 1, '\0');
  sodium_bin2hex(hex.data(), hex.size(), bytes.data(), bytes.size());
  hex.pop_back();
  return hex;
}

std::string ResultLinks::make(std::string_view job_id, std::int64_t now) const {
  const std::string text = std::string(job_id) + '.' + std::to_string(now + kLifeSeconds);
  return text + '.' + mac(text);
}

std::string ResultLinks::job_of(std::string_view link, std::int64_t now) const {
  const std::size_t last = link.rfind('.');
  if (last == std::string_view::npos) return {};
  const std::string_view text = link.substr(0, last);
  if (!equal_constant_time(mac(text), link.substr(last + 1))) return {};
  const std::size_t dot = text.rfind('.');
  std::int64_t until = 0;
  std::from_chars(text.data() + dot + 1, text.data() + text.size(), until);
  return now <= until ? std::string(text.substr(0, dot)) : std::string();
}

}  // namespace fused
