// Finds run folders from the oldest on, one at a time, without ever holding a list of them: a day may have a million.
// Used on the folder thread only.
#pragma once
#include <dirent.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "logs/folder.hpp"
#include "logs/log_tree.hpp"

namespace fused {

class OldFolders {
 public:
  OldFolders(LogTree& tree, const Clock& clock) : tree_(tree), clock_(clock) {}

  // Moves the oldest run folder into the place aside. Only days before `before` (YYYY-MM-DD) when that is not "".
  // Nothing when there is none; then the disk is not searched again for a second.
  std::optional<OldFolder> take(std::string_view before);
  // Days of which nothing is left since the last call.
  std::vector<std::string> emptied_days() { return std::exchange(emptied_, {}); }
  // The days there are, oldest first. Names that are no date are not ours and are left alone.
  std::vector<std::string> days() const;

 private:
  struct CloseDir {
    void operator()(DIR* listing) const { ::closedir(listing); }
  };
  using Listing = std::unique_ptr<DIR, CloseDir>;
  Listing list(int folder, const std::string& name) const;
  bool next_day(std::string_view before);
  bool next_minute();
  bool next_email();
  void leave_email();
  void leave_minute();
  void leave_day();
  bool still_written() const;  // the minute at hand may get more folders

  LogTree& tree_;
  const Clock& clock_;
  std::string day_, minute_, email_;
  std::vector<std::string> minutes_;  // of the day, latest first
  Listing minute_listing_, email_listing_;
  std::vector<std::string> emptied_;
  bool found_any_ = false;  // on the way through the day
  SteadyTime search_again_{};
};

}  // namespace fused
