// Makes the folder of one run: metadata.json, udf.json, stdout.log, stderr.log (seed: "logs/"), whole or not at all. It
// is written in the place aside and renamed. Used on the folder thread only.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "logs/journal_format.hpp"
#include "logs/log_tree.hpp"
#include "logs/shared_files.hpp"

namespace fused {

// What folders take of the disk; shared files are not counted.
struct FolderUse {
  std::int64_t folders = 0;
  std::int64_t inodes = 0;
  std::int64_t bytes = 0;

  FolderUse& operator+=(const FolderUse& other) {
    folders += other.folders, inodes += other.inodes, bytes += other.bytes;
    return *this;
  }
  FolderUse& operator-=(const FolderUse& other) {
    folders -= other.folders, inodes -= other.inodes, bytes -= other.bytes;
    return *this;
  }
};

// A run folder that was moved into the place aside.
struct OldFolder {
  std::string name;  // in tree.aside()
  std::string date;  // where it lay
  FolderUse use;
  bool reusable = false;  // holds the four files and nothing else
};

struct WrittenFolder {
  RunPath path;                // with ".2", ".3", … where the name was taken by another run
  FolderUse use;               // also of one that was there
  bool already_there = false;  // by an earlier try: nothing was done
};

class FolderWriter {
 public:
  FolderWriter(LogTree& tree, SharedFileOptions options) : tree_(tree), shared_(tree, options) {}

  // `code` may be null (its record was damaged). `reuse`, when given, is consumed: its files are overwritten, so that
  // no inode is freed and none is taken. `look_first`: the folder may well be there already (replay). On an error
  // nothing is left of this try.
  Result<WrittenFolder> write(const JournalRun& run, const JournalCode* code, std::optional<OldFolder> reuse,
                              bool look_first = false);
  // Something removed folders that are held open.
  Status reopen();

  std::uint64_t shared_files_made() const { return shared_.made(); }

 private:
  struct Contents {
    std::string metadata;
    const JournalRun& run;
    const JournalCode* code;
  };
  Result<FolderUse> fill_new(const std::string& name, const Contents& contents);
  Result<FolderUse> fill_old(const std::string& name, const Contents& contents);
  Status link_code(int folder, const std::string& path, const Contents& contents);
  Result<WrittenFolder> put_in_place(const std::string& name, const Contents& contents);

  LogTree& tree_;
  SharedFiles shared_;
};

// What a folder takes, and whether its files can be overwritten. `folder` is open; the descriptor is not consumed.
OldFolder inspect_folder(int parent, const std::string& name);

}  // namespace fused
