// Files that stand in an entry's place: as they come, and with their checks made right, so that what lies behind the
// checks is reached too. Whatever passes lies within the file, and written again it is the same file.
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

#include "cache/entry_format.hpp"

namespace {

using namespace fused;

void demand(bool holds) {
  if (!holds) std::abort();
}

struct Folder {
  std::string name = "/dev/shm/fused-fuzz-XXXXXX";
  Folder() { demand(::mkdtemp(name.data()) != nullptr); }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(name, error);
  }
};

const std::string& folder() {
  static const Folder folder;
  return folder.name;
}

void put(const std::string& path, std::string_view bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  demand(file >= 0 && ::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  ::close(file);
}

// The bytes with both checks as they would have to be.
std::string repaired(std::string_view bytes, const CheckKey& key) {
  std::string out(bytes);
  const auto head = parse_entry_head(bytes, bytes.size());
  if (!head) return out;
  RunningCheck body(head->check, &key);
  body.add(bytes.substr(head->body_offset));
  const CheckBytes body_check = body.finish();
  std::memcpy(out.data() + 128, body_check.data(), body_check.size());
  const CheckBytes check =
      entry_head_check(head->check, &key, out, bytes.substr(kEntryHeadBytes, head->body_offset - kEntryHeadBytes));
  std::memcpy(out.data() + kEntryHeadCheckAt, check.data(), check.size());
  return out;
}

void read_and_write_again(std::string_view bytes, const CheckKey& key, bool must_pass) {
  const std::string path = folder() + "/entry", again = folder() + "/again";
  put(path, bytes);
  (void)look_at_entry_file(path);
  bool passed = false;
  for (const auto check : {EntryCheck::blake3, EntryCheck::xxh3})
    for (const std::size_t whole_max : {std::size_t{0}, kEntryReadWholeMax}) {
      EntryReading how;
      how.check = check;
      how.check_key = &key;
      how.read_whole_max = whole_max;
      auto found = read_entry_file(path, how);
      if (!found) continue;
      passed = true;
      demand(found->note.size() == found->head.note_bytes && found->body.size() == found->head.body_bytes);
      demand(found->head.body_offset + found->body.size() == bytes.size());
      const std::string_view body[] = {{found->body.data(), found->body.size()}};
      demand(body[0] == bytes.substr(found->head.body_offset));
      EntryWriting to;
      to.path = again;
      to.draft = again + ".draft";
      to.check_key = &key;
      demand(write_entry_file(to, found->head, found->note, body).has_value());
      how.key = &found->head.key;
      const auto second = read_entry_file(again, how);
      demand(second && second->note == found->note && second->head.body_check == found->head.body_check);
      found->body = {};
    }
  demand(passed || !must_pass);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  CheckKey key{};
  key[0] = 7;
  read_and_write_again(bytes, key, false);
  const std::string right = repaired(bytes, key);
  read_and_write_again(right, key, parse_entry_head(right, right.size()).has_value());
  return 0;
}
