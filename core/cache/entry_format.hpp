// What reading and writing of entry files share: offsets, and the two checks, made over parts (entry_file.hpp).
#pragma once
#define XXH_INLINE_ALL
#include <blake3.h>
#include <xxhash.h>

#include <cstring>

#include "cache/entry_file.hpp"

namespace fused {

inline constexpr std::string_view kEntryMagic = "FUSEDCE2";
inline constexpr std::size_t kEntryHeadCheckAt = 160;

inline std::uint64_t entry_body_offset(std::uint64_t note_bytes) {
  return (kEntryHeadBytes + note_bytes + kEntryAlignment - 1) / kEntryAlignment * kEntryAlignment;
}

class RunningCheck {
 public:
  // `key` is looked at for BLAKE3 alone.
  RunningCheck(EntryCheck kind, const CheckKey* key) : kind_(kind) {
    if (kind_ == EntryCheck::blake3) {
      blake3_hasher_init_keyed(&blake3_, key->data());
    } else {
      XXH3_INITSTATE(&xxh3_);
      XXH3_128bits_reset(&xxh3_);
    }
  }
  void add(std::string_view part) {
    if (kind_ == EntryCheck::blake3)
      blake3_hasher_update(&blake3_, part.data(), part.size());
    else
      XXH3_128bits_update(&xxh3_, part.data(), part.size());
  }
  CheckBytes finish() {
    CheckBytes out{};
    if (kind_ == EntryCheck::blake3) {
      blake3_hasher_finalize(&blake3_, out.data(), out.size());
    } else {
      XXH128_canonical_t canonical;
      XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&xxh3_));
      std::memcpy(out.data(), canonical.digest, sizeof canonical.digest);
    }
    return out;
  }

 private:
  EntryCheck kind_;
  blake3_hasher blake3_;
  XXH3_state_t xxh3_;
};

// Of the head's first bytes and of what lies between the head and the body.
inline CheckBytes entry_head_check(EntryCheck kind, const CheckKey* key, std::string_view head,
                                   std::string_view between) {
  RunningCheck check(kind, key);
  check.add(head.substr(0, kEntryHeadCheckAt));
  check.add(between);
  return check.finish();
}

// Takes equally long wherever they differ.
inline bool same_check(const CheckBytes& one, const CheckBytes& other) {
  unsigned char differ = 0;
  for (std::size_t at = 0; at < one.size(); ++at) differ |= static_cast<unsigned char>(one[at] ^ other[at]);
  return differ == 0;
}

}  // namespace fused
