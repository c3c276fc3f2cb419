// The folders under DIR/mount/fused-system/logs and the place beside them where run folders are made. Functions may
// write there, so nothing is followed: every level is opened by one name beneath a descriptor, never through a symbolic
// link, and what stands in the way is moved aside. Used on the folder thread only.
#pragma once
#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/result.hpp"
#include "logs/run_path.hpp"
#include "storage/file_descriptor.hpp"

namespace fused {

// Errors of this room's file calls: storage_full where there is no room, invalid_argument where another try of the same
// record cannot help (name too long, folder full of links), else internal.
std::unexpected<Error> folder_error(std::string_view call, int error_number);

class LogTree {
 public:
  // Makes what is missing and empties the place aside. It lies in `journal` (out of functions' reach) when folders can
  // be renamed from there into `mount`, else in the logs folder as ".aside".
  static Result<std::unique_ptr<LogTree>> open(const std::filesystem::path& mount,
                                               const std::filesystem::path& journal);

  int logs() const { return logs_.get(); }
  int aside() const { return aside_.get(); }
  const std::filesystem::path& logs_path() const { return logs_path_; }
  const std::filesystem::path& aside_path() const { return aside_path_; }

  // The open folder {date}/{hhmm}/{email}, made where it is missing; kept open for the next run of the same minute.
  // Owned by the tree, valid until the next call.
  Result<int> parent(const RunPath& path);
  // Opens everything anew: somebody removed folders that were held open.
  Status reopen();
  // A name in aside() that nobody has.
  std::string fresh_name() { return "r" + std::to_string(++counter_); }
  // Removes something that lies in aside(), with all in it. Gives how many files and folders that were.
  std::uint64_t remove(const std::string& name);
  // Moves `name` out of `folder` into aside() and removes it.
  Status discard(int folder, const std::string& name);

 private:
  struct Parent {
    std::string key;
    FileDescriptor folder;
  };
  Result<FileDescriptor> open_or_make(int folder, const std::string& name);

  std::filesystem::path mount_path_, logs_path_, aside_path_;
  FileDescriptor logs_, aside_;
  std::list<Parent> parents_;  // most recent first
  std::unordered_map<std::string, std::list<Parent>::iterator> parents_by_key_;
  std::uint64_t counter_ = 0;
};

}  // namespace fused
