// How long run folders stay: a number of days, and a share of the disk's bytes and inodes. At the limit the oldest
// folder is not deleted but made into the next one: on ext4 without a journal, creating files is up to twelve times
// dearer for minutes after many were deleted (bench/log_folders; with a journal it is not). What is past its days is
// used up the same way, and removed gently when no new folders come. Used on the folder thread only.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/clock.hpp"
#include "base/result.hpp"
#include "logs/folder.hpp"
#include "logs/journal.hpp"
#include "logs/old_folders.hpp"

namespace fused {

struct RetentionOptions {
  int days = 90;               // a folder goes when its date is that many days before today's; 0: never by age
  double disk_share = 0.1;     // of the file system's bytes and of its inodes
  std::int64_t bytes_max = 0;  // instead of the share; 0: the share
  std::int64_t inodes_max = 0;
  int removed_per_second = 50;
  std::int64_t free_bytes_min = 256LL << 20;  // with less free on the disk, old folders are reused as at the limit
};

class Retention {
 public:
  // Reads `usage_file`; days it does not know are counted by listing, at 2 inodes and 8 KiB a folder.
  static Result<std::unique_ptr<Retention>> open(LogTree& tree, std::filesystem::path usage_file,
                                                 RetentionOptions options, const Clock& clock);

  // A folder to make the next one from; nothing while there is room and nothing is past its days.
  std::optional<OldFolder> reusable();
  // The oldest folder whatever the limits say: the disk is full.
  std::optional<OldFolder> oldest();
  // A folder was made (or found in place by replay) from the record that ends at `end`. What the usage file already
  // counts is not counted again.
  void add(const std::string& date, const FolderUse& use, JournalPosition end, bool already_there);
  // A bounded piece of removal. Call it about every 100 ms. Gives how many folders went.
  std::uint64_t tidy();
  bool has_to_remove() const;
  // Remembers the counts, and that they hold all records before `read`.
  Status save(JournalPosition read);

  JournalPosition counted() const { return counted_; }
  FolderUse used() const { return used_; }
  std::int64_t bytes_max() const { return bytes_max_; }
  std::int64_t inodes_max() const { return inodes_max_; }
  std::string bound() const;  // for people: "90 days, at most 25.2 GB and 1,677,721 files and folders"

 private:
  Retention(LogTree& tree, std::filesystem::path usage_file, RetentionOptions options, const Clock& clock)
      : tree_(tree), usage_file_(std::move(usage_file)), options_(options), clock_(clock), old_(tree, clock) {}
  Status measure_disk();
  void load();
  void count_unknown_days();
  std::string expired_before() const;
  bool any_expired() const;
  bool over_limit(double factor, const FolderUse& more) const;
  std::optional<OldFolder> take(std::string_view before);
  void forget_emptied_days();
  void forget_missing_days();

  LogTree& tree_;
  std::filesystem::path usage_file_;
  RetentionOptions options_;
  const Clock& clock_;
  OldFolders old_;
  std::map<std::string, FolderUse> days_;
  FolderUse used_;
  JournalPosition counted_;       // up to here by an earlier server
  std::set<std::string> listed_;  // days counted by listing: what was there then is in their counts
  std::int64_t bytes_max_ = 0, inodes_max_ = 0;
  bool disk_is_low_ = false;
  std::string expired_before_;
  SteadyTime measured_{}, tidied_{}, compared_{};
};

}  // namespace fused
