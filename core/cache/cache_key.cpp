#include "cache/cache_key.hpp"

#include <sodium.h>

#include <algorithm>
#include <cstring>

namespace fused {
namespace {

constexpr std::string_view kVersion = "fused result key 1";

crypto_generichash_state* state_of(std::array<unsigned char, 384>& bytes) {
  static_assert(sizeof(crypto_generichash_state) <= 384 && alignof(crypto_generichash_state) <= 64);
  return reinterpret_cast<crypto_generichash_state*>(bytes.data());
}

std::uint64_t word_of(std::string_view text) { return digest_of(text).word(0); }
std::string_view bytes_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

}  // namespace

std::string Digest::hex() const {
  std::string out(65, '\0');
  sodium_bin2hex(out.data(), out.size(), bytes.data(), bytes.size());
  out.pop_back();
  return out;
}

std::uint64_t Digest::word(int at) const {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes.data() + 8 * at, sizeof word);
  return word;
}

Hasher::Hasher() { crypto_generichash_init(state_of(state_), nullptr, 0, 32); }

Hasher& Hasher::add(std::uint64_t number) {
  unsigned char bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<unsigned char>(number >> (8 * i));
  crypto_generichash_update(state_of(state_), bytes, sizeof bytes);
  return *this;
}

Hasher& Hasher::add(std::string_view part) {
  add(part.size());
  crypto_generichash_update(state_of(state_), reinterpret_cast<const unsigned char*>(part.data()), part.size());
  return *this;
}

Digest Hasher::finish() {
  Digest digest;
  crypto_generichash_final(state_of(state_), digest.bytes.data(), digest.bytes.size());
  return digest;
}

Digest digest_of(std::string_view text) { return Hasher().add(text).finish(); }

std::string_view part_name(KeyPart part) {
  static constexpr std::string_view kNames[kKeyParts] = {"owner",  "code", "entrypoint",  "parameters",
                                                         "format", "tile", "environment", "caller"};
  return kNames[static_cast<std::size_t>(part)];
}

std::uint32_t function_group(std::string_view organisation, std::string_view owner_id, std::string_view function) {
  const Digest digest = Hasher().add("group").add(organisation).add(owner_id).add(function).finish();
  return std::max<std::uint32_t>(1, static_cast<std::uint32_t>(digest.word(0)));
}

std::uint32_t tile_group(std::uint32_t group, std::string_view tile) {
  const Digest digest = Hasher().add("tile").add(group).add(tile).finish();
  return std::max<std::uint32_t>(1, static_cast<std::uint32_t>(digest.word(0)));
}

CacheKey make_key(const KeyInput& input) {
  CacheKey key;
  Hasher parameters;
  parameters.add(input.parameters.size());
  for (const auto& [name, value] : input.parameters) {
    parameters.add(name).add(value);
    key.parameters.emplace_back(name, word_of(value));
  }
  const Digest owner = Hasher().add(input.organisation).add(input.owner_id).add(input.function).finish();
  const std::array<Digest, kKeyParts> parts{owner,
                                            input.code,
                                            digest_of(input.entrypoint),
                                            parameters.finish(),
                                            digest_of(input.format),
                                            digest_of(input.tile),
                                            input.environment,
                                            digest_of(input.caller)};
  Hasher all;
  all.add(kVersion);
  for (std::size_t i = 0; i < kKeyParts; ++i) {
    all.add(bytes_of(parts[i]));
    key.parts[i] = parts[i].word(0);
  }
  key.digest = all.finish();
  key.group = function_group(input.organisation, input.owner_id, input.function);
  if (!input.tile.empty()) key.tile_group = tile_group(key.group, input.tile);
  return key;
}

std::vector<std::string> CacheKey::changes_since(const CacheKey& earlier) const {
  std::vector<std::string> changes;
  for (std::size_t i = 0; i < kKeyParts; ++i) {
    if (parts[i] == earlier.parts[i]) continue;
    if (static_cast<KeyPart>(i) != KeyPart::parameters) {
      changes.emplace_back(part_name(static_cast<KeyPart>(i)));
      continue;
    }
    const auto differs = [](const auto& mine, const auto& theirs) {
      std::vector<std::string> names;
      for (const auto& item : mine)
        if (std::ranges::find(theirs, item) == theirs.end()) names.push_back(item.first);
      return names;
    };
    std::vector<std::string> names = differs(parameters, earlier.parameters);
    for (auto& name : differs(earlier.parameters, parameters))
      if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
    for (const auto& name : names) changes.push_back("parameter '" + name + "'");
  }
  return changes;
}

}  // namespace fused
