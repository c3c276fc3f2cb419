// The one way from a name that a stranger chose to an open file: beneath a folder that is held open, never out of it.
// The kernel enforces it (openat2 with RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS), so a symbolic link that a function
// planted cannot lead out either. Every file sink of the server goes through here.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "storage/file_descriptor.hpp"
#include "storage/write_gate.hpp"

namespace fused {

inline constexpr std::size_t kComponentBytesMax = 255;
inline constexpr std::size_t kPathBytesMax = 4'000;

// One name in a folder: not empty, "." or "..", without '/', backslash, NUL and control characters (C0, DEL, C1), valid
// UTF-8, at most 255 bytes. invalid_argument names the value and the rule.
Status check_component(std::string_view name);
// Components joined by single '/': no leading or trailing one. "" is refused.
Status check_relative_path(std::string_view path);
// The value as it may stand in an error or a log line: control characters escaped, cut at 80 bytes.
std::string shown(std::string_view value);

class PathResolver {
 public:
  // internal when the folder cannot be opened or the kernel has no openat2 (Linux before 5.6, or a filter forbids it).
  static Result<PathResolver> open(const std::filesystem::path& root);
  // The same below one of its folders.
  Result<PathResolver> beneath(std::string_view path) const;

  // `flags` as of open(2); O_CLOEXEC is added. not_found when there is no such file, invalid_argument when the path is
  // malformed or leads out of the root.
  Result<FileDescriptor> open_file(std::string_view path, int flags, mode_t mode = 0600) const;
  // Makes what is missing (mode 0700), each new name fsynced into its folder; gives the last folder.
  Result<FileDescriptor> make_folders(WriteGate& gate, std::string_view path) const;
  Result<std::string> read(std::string_view path, std::size_t bytes_max) const;
  // Names in a folder ("" is the root), sorted.
  Result<std::vector<std::string>> list(std::string_view path) const;
  // A file or an empty folder; true when there was one.
  Result<bool> remove(WriteGate& gate, std::string_view path) const;

  int root_fd() const { return root_.get(); }

 private:
  explicit PathResolver(FileDescriptor root) : root_(std::move(root)) {}
  FileDescriptor root_;
};

}  // namespace fused
