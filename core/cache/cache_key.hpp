// The key of a result: one digest over all that decides it, and one a part, so that a miss can say what changed.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/canonical.hpp"

namespace fused {

struct Digest {  // 256 bits
  std::array<unsigned char, 32> bytes{};

  bool operator==(const Digest&) const = default;
  std::string hex() const;  // 64 lower-case digits
  std::uint64_t word(int at) const;
};
struct DigestHash {
  std::size_t operator()(const Digest& digest) const { return static_cast<std::size_t>(digest.word(0)); }
};

// BLAKE2b-256 over parts, each with its length in front.
class Hasher {
 public:
  Hasher();
  Hasher& add(std::string_view part);
  Hasher& add(std::uint64_t number);
  Digest finish();

 private:
  alignas(64) std::array<unsigned char, 384> state_{};
};
Digest digest_of(std::string_view text);

// In the order in which they stand in the key. `part_name` is what a miss says.
enum class KeyPart { owner, code, entrypoint, parameters, format, tile, environment, caller };
inline constexpr std::size_t kKeyParts = 8;
std::string_view part_name(KeyPart part);

struct KeyInput {
  std::string_view organisation;
  std::string_view owner_id;  // whose code it is, and whose rights the run has
  std::string_view function;  // its name: what an invalidation names
  Digest code;                // of the normalised text and its headers (code_memory.hpp)
  std::string_view entrypoint;
  CanonicalParameters parameters;
  std::string_view format;  // all of the request that chooses the bytes
  std::string_view tile;    // "z/x/y", "" for none
  Digest environment;       // interpreter, packages, this server
  std::string_view caller;  // "" where the code cannot see who asks
};

struct CacheKey {
  Digest digest;
  std::array<std::uint64_t, kKeyParts> parts{};
  std::vector<std::pair<std::string, std::uint64_t>> parameters;  // name and digest of its value
  std::uint32_t group = 0;                                        // of the function: what a whole invalidation marks
  std::uint32_t tile_group = 0;                                   // of one tile of the function; 0: no tile

  // "code", "parameter 'n'", "format", …; nothing where the two are equal.
  std::vector<std::string> changes_since(const CacheKey& earlier) const;
};

CacheKey make_key(const KeyInput& input);
// The groups of a function and of one of its tiles. Different functions share one with 1 in 4 billion: their results
// are then dropped together.
std::uint32_t function_group(std::string_view organisation, std::string_view owner_id, std::string_view function);
std::uint32_t tile_group(std::uint32_t function_group, std::string_view tile);

}  // namespace fused
