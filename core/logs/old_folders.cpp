#include "logs/old_folders.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

namespace fused {
namespace {

bool is_shape(std::string_view name, std::string_view shape) {  // '0' stands for a digit
  return name.size() == shape.size() && std::equal(name.begin(), name.end(), shape.begin(), [](char c, char s) {
           return s == '0' ? c >= '0' && c <= '9' : c == s;
         });
}

// The next name of a listing that is not "." or "..", or nullptr.
const char* next_name(DIR* listing) {
  while (const dirent* entry = ::readdir(listing)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") return entry->d_name;
  }
  return nullptr;
}

}  // namespace

OldFolders::Listing OldFolders::list(int folder, const std::string& name) const {
  // A shortage must not pass for an empty folder, whose day would go with all that is in it.
  int opened = -1;
  while ((opened = ::openat(folder, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0 &&
         (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  if (opened < 0) return nullptr;
  DIR* listing = ::fdopendir(opened);
  if (!listing) ::close(opened);
  return Listing(listing);
}

std::vector<std::string> OldFolders::days() const {
  std::vector<std::string> found;
  if (const Listing listing = list(tree_.logs(), "."))
    while (const char* name = next_name(listing.get()))
      if (is_shape(name, "0000-00-00")) found.emplace_back(name);
  std::sort(found.begin(), found.end());
  return found;
}

bool OldFolders::still_written() const {
  const WallTime recent = clock_.now() - std::chrono::minutes(2);
  return day_ + minute_ >= format_utc_date(recent) + format_utc_hhmm(recent);
}

bool OldFolders::next_day(std::string_view before) {
  if (clock_.steady() < search_again_) return false;
  const auto all = days();
  if (all.empty() || (!before.empty() && all.front() >= before)) {
    search_again_ = clock_.steady() + std::chrono::seconds(1);
    return false;
  }
  day_ = all.front();
  found_any_ = false;
  minutes_.clear();
  if (const Listing listing = list(tree_.logs(), day_))
    while (const char* name = next_name(listing.get())) minutes_.emplace_back(name);
  std::sort(minutes_.rbegin(), minutes_.rend());
  return true;
}

bool OldFolders::next_minute() {
  if (minutes_.empty()) return false;
  minute_ = std::move(minutes_.back());
  minutes_.pop_back();
  minute_listing_ = list(tree_.logs(), day_ + "/" + minute_);
  return true;
}

bool OldFolders::next_email() {
  const char* name = minute_listing_ ? next_name(minute_listing_.get()) : nullptr;
  if (!name) return false;
  email_ = name;
  email_listing_ = list(::dirfd(minute_listing_.get()), email_);
  return true;
}

// What is not empty has got another folder meanwhile (or a function put something there): it goes with its day.
void OldFolders::leave_email() {
  email_listing_.reset();
  if (!still_written()) ::unlinkat(::dirfd(minute_listing_.get()), email_.c_str(), AT_REMOVEDIR);
  email_.clear();
}
void OldFolders::leave_minute() {
  minute_listing_.reset();
  if (!still_written()) ::unlinkat(tree_.logs(), (day_ + "/" + minute_).c_str(), AT_REMOVEDIR);
  minute_.clear();
}
void OldFolders::leave_day() {
  const bool today = day_ >= format_utc_date(clock_.now() - std::chrono::minutes(2));
  if (today) {
    if (!found_any_) search_again_ = clock_.steady() + std::chrono::seconds(1);  // its last minutes stay open
  } else {
    if (::unlinkat(tree_.logs(), day_.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
      (void)tree_.discard(tree_.logs(), day_);
    emptied_.push_back(day_);
  }
  day_.clear();
}

std::optional<OldFolder> OldFolders::take(std::string_view before) {
  for (;;) {
    if (day_.empty() && !next_day(before)) return {};
    if (!before.empty() && day_ >= before) return {};
    if (minute_.empty() && !next_minute()) {
      leave_day();
      continue;
    }
    if (email_.empty() && !next_email()) {
      leave_minute();
      continue;
    }
    const char* id = email_listing_ ? next_name(email_listing_.get()) : nullptr;
    if (!id) {
      leave_email();
      continue;
    }
    const std::string name = tree_.fresh_name();
    if (::renameat(::dirfd(email_listing_.get()), id, tree_.aside(), name.c_str()) != 0) continue;
    OldFolder old = inspect_folder(tree_.aside(), name);
    old.date = day_;
    found_any_ = true;
    return old;
  }
}

}  // namespace fused
