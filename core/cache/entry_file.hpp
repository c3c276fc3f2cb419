// An entry that is a file of its own: what a function of `@fused.cache` returned (data_{hash}, written by any process),
// or a large result of the server (cache/large/, written by the server). Head of 192 bytes, note, zeros up to a
// multiple of 64, body. Numbers are little endian.
//
//     0 "FUSEDCE2" | 8 u32 writer | 12 u32 check | 16 u32 kind of body | 20 u32 note bytes | 24 u64 where the body
//     begins
//    32 u64 body bytes | 40 i64 made, ns since 1970 | 48 i64 made, ns since boot | 56 id of the boot, 16 bytes
//    72 u64 max age, s | 80 u64 what computing took, ns | 88 8 zeros | 96 key, 32 bytes | 128 check of the body, 32
//    bytes
//   160 check of bytes 0–159 and of all between the head and the body, 32 bytes
//
// A check is BLAKE3 under the owner's key, which nobody else can make, or XXH3-128 and 16 zeros, for what only the
// server can write. Calls of this header may be made from any thread.
#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "cache/cache_key.hpp"

struct stat;

namespace fused {

inline constexpr std::size_t kEntryHeadBytes = 192;
inline constexpr std::size_t kEntryAlignment = 64;
inline constexpr std::uint32_t kEntryNoteBytesMax = 1 << 20;
inline constexpr std::size_t kEntryReadWholeMax = 1 << 18;  // below it reading is cheaper than mapping

enum class EntryWriter : std::uint32_t { function_cache = 1, result_cache = 2 };
enum class EntryCheck : std::uint32_t { blake3 = 1, xxh3 = 2 };
using CheckBytes = std::array<unsigned char, 32>;
using CheckKey = std::array<unsigned char, 32>;

struct EntryFileHead {
  EntryWriter writer = EntryWriter::function_cache;
  EntryCheck check = EntryCheck::blake3;
  std::uint32_t kind = 0;  // the writer's
  std::uint32_t note_bytes = 0;
  std::uint64_t body_offset = 0;
  std::uint64_t body_bytes = 0;
  std::int64_t created_ns = 0;
  std::int64_t boot_ns = 0;
  std::array<unsigned char, 16> boot_id{};
  std::uint64_t max_age_s = 0;
  std::uint64_t computing_ns = 0;
  Digest key;
  CheckBytes body_check{};
  bool operator==(const EntryFileHead&) const = default;
};

// Which content a path has: another content has another state, once the state is settled.
struct FileState {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  bool operator==(const FileState&) const = default;
  // The last change was so long ago that another one would show in the file's times.
  bool is_settled() const;
};
FileState state_of(const struct stat& found);

struct EntryError {
  enum class Kind { missing, older, damaged, system };  // older: an entry of a format before this one
  Kind kind = Kind::damaged;
  std::string message;
  int error_number = 0;  // of system
};
template <class T>
using EntryResult = std::expected<T, EntryError>;

// Files whose bodies were checked by this process: their check is not made again, but for that of the part that is the
// process's own (EntryReading::own_bytes), which is kept here. At most kCountMax are remembered.
class VerifiedFiles {
 public:
  static constexpr std::size_t kCountMax = 4096;
  std::optional<CheckBytes> find(const FileState& state) const;
  void add(const FileState& state, const CheckBytes& own);  // one that is not settled is not remembered

 private:
  struct Hash {
    std::size_t operator()(const FileState& state) const;
  };
  std::unordered_map<FileState, CheckBytes, Hash> seen_;
  std::deque<FileState> order_;
};

// An entry that passed. Writing to its bytes changes no file and nobody else's view.
struct EntryFile {
  EntryFileHead head;
  std::string_view note;
  std::span<char> body;
  std::shared_ptr<void> owner;  // of the bytes
  FileState state;
};

struct EntryReading {
  const Digest* key = nullptr;            // the entry's; nullptr: whatever it is
  EntryCheck check = EntryCheck::blake3;  // an entry under the other one does not pass: anybody can make XXH3's
  const CheckKey* check_key = nullptr;    // the owner's, for BLAKE3
  std::size_t read_whole_max = kEntryReadWholeMax;
  bool writable = true;
  // Whoever may write the file can change what is mapped after it was checked. Of a writable mapping head, note and the
  // first so many bytes of a body of `kind` are taken out of his reach before they are looked at: what is code to its
  // reader, as a pickle is, must lie there. Asked twice, of bytes that may still change and of those that do not.
  std::function<std::size_t(std::uint32_t kind, std::string_view body)> own_bytes;
  VerifiedFiles* verified = nullptr;  // nullptr: the body is checked whatever was seen before
};
// Links, pipes, folders and whatever else is no regular file are `damaged`.
EntryResult<EntryFile> read_entry_file(const std::string& path, const EntryReading& how);

// What a listing shows. An owner's head and note are believed as far as they fit the file; the server's are checked.
struct EntrySummary {
  std::optional<EntryFileHead> head;  // nothing: of a format before this one
  std::string note;
  FileState state;
  std::int64_t used_ns = 0;  // as exactly as the file system keeps reading times
};
EntryResult<EntrySummary> look_at_entry_file(const std::string& path);

struct EntryWriting {
  std::string path;   // where it is to be
  std::string draft;  // written here and renamed; "": at `path` itself, where nothing may be yet
  const CheckKey* check_key = nullptr;
  bool has_body_check = false;  // head.body_check is there already
};
// Readers see what was there before, or this one whole. Sizes, offsets and checks of `head` are filled in. Nothing is
// synced: what a power failure tore does not pass. The error is `system`.
EntryResult<void> write_entry_file(const EntryWriting& to, EntryFileHead head, std::string_view note,
                                   std::span<const std::string_view> body);

// The head at the start of a file of `file_bytes`, as far as it can be right; no check is made.
EntryResult<EntryFileHead> parse_entry_head(std::string_view bytes, std::uint64_t file_bytes);

}  // namespace fused
