#include "logs/retention.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <fstream>
#include <sstream>

#include "logs/json_text.hpp"

namespace fused {
namespace {

constexpr FolderUse kUsualFolder{1, 2, 8'192};
constexpr double kFarOver = 1.05;  // beyond it removal is not gentle any more
constexpr int kTidyPerCall = 1'000;
constexpr auto kMeasureEvery = std::chrono::seconds(5);

std::string gigabytes(std::int64_t bytes) {
  char text[40];
  std::snprintf(text, sizeof text, bytes < 1'000'000'000 ? "%.1f MB" : "%.1f GB",
                static_cast<double>(bytes) / (bytes < 1'000'000'000 ? 1e6 : 1e9));
  return text;
}

std::int64_t count_folders(const std::filesystem::path& day) {
  std::int64_t count = 0;
  std::error_code error;
  const auto skip = std::filesystem::directory_options::skip_permission_denied;
  for (std::filesystem::recursive_directory_iterator at(day, skip, error), end; !error && at != end;
       at.increment(error)) {
    if (at.depth() < 2) continue;
    ++count;
    at.disable_recursion_pending();
  }
  return count;
}

}  // namespace

Result<std::unique_ptr<Retention>> Retention::open(LogTree& tree, std::filesystem::path usage_file,
                                                   RetentionOptions options, const Clock& clock) {
  auto retention = std::unique_ptr<Retention>(new Retention(tree, std::move(usage_file), options, clock));
  FUSED_CHECK(retention->measure_disk());
  retention->load();
  retention->count_unknown_days();
  retention->expired_before_ = retention->expired_before();
  retention->tidied_ = clock.steady();
  return retention;
}

Status Retention::measure_disk() {
  struct statvfs disk{};
  if (::fstatvfs(tree_.logs(), &disk) != 0) return folder_error("cannot measure " + tree_.logs_path().string(), errno);
  const auto block = static_cast<double>(disk.f_frsize);
  bytes_max_ = options_.bytes_max
                   ? options_.bytes_max
                   : static_cast<std::int64_t>(block * static_cast<double>(disk.f_blocks) * options_.disk_share);
  inodes_max_ = options_.inodes_max
                    ? options_.inodes_max
                    : static_cast<std::int64_t>(static_cast<double>(disk.f_files) * options_.disk_share);
  const bool no_inodes = disk.f_files > 0 && disk.f_favail < 1'000;
  disk_is_low_ = block * static_cast<double>(disk.f_bavail) < static_cast<double>(options_.free_bytes_min) || no_inodes;
  measured_ = clock_.steady();
  return {};
}

void Retention::load() {
  std::ifstream file(usage_file_);
  if (!file) return;
  std::stringstream text;
  text << file.rdbuf();
  try {
    const auto usage = boost::json::parse(text.str());
    const auto& counted = usage.at("counted");
    counted_ = {counted.at("segment").to_number<std::uint64_t>(), counted.at("offset").to_number<std::uint64_t>()};
    for (const auto& [date, use] : usage.at("days").as_object())
      days_[date] = {use.at("folders").to_number<std::int64_t>(), use.at("inodes").to_number<std::int64_t>(),
                     use.at("bytes").to_number<std::int64_t>()};
  } catch (const std::exception& error) {
    spdlog::warn("{} cannot be read ({}): the log folders are counted anew", usage_file_.string(), error.what());
    days_.clear();
    counted_ = {};
  }
}

void Retention::count_unknown_days() {
  const auto found = old_.days();
  std::erase_if(days_, [&](const auto& day) { return !std::binary_search(found.begin(), found.end(), day.first); });
  const bool any_known = !days_.empty();
  for (const auto& day : found) {
    if (days_.contains(day) || (any_known && day > days_.rbegin()->first)) continue;  // newer days come by replay
    const std::int64_t count = count_folders(tree_.logs_path() / day);
    listed_.insert(day);
    days_[day] = {count, count * kUsualFolder.inodes, count * kUsualFolder.bytes};
  }
  used_ = {};
  for (const auto& [date, use] : days_) used_ += use;
}

std::string Retention::expired_before() const {
  return options_.days > 0 ? format_utc_date(clock_.now() - std::chrono::hours(24) * options_.days) : std::string();
}

bool Retention::over_limit(double factor, const FolderUse& more) const {
  const auto over = [factor](std::int64_t used, std::int64_t limit) {
    return limit > 0 && static_cast<double>(used) > static_cast<double>(limit) * factor;
  };
  return over(used_.bytes + more.bytes, bytes_max_) || over(used_.inodes + more.inodes, inodes_max_);
}

// Somebody else may remove days.
void Retention::forget_missing_days() {
  if (clock_.steady() - compared_ < std::chrono::seconds(1)) return;
  compared_ = clock_.steady();
  const auto found = old_.days();
  std::erase_if(days_, [&](const auto& day) {
    const bool missing = !std::binary_search(found.begin(), found.end(), day.first);
    if (missing) used_ -= day.second;
    return missing;
  });
}

std::optional<OldFolder> Retention::take(std::string_view before) {
  auto old = old_.take(before);
  forget_emptied_days();
  if (!old) {
    forget_missing_days();
    return {};
  }
  const auto day = days_.find(old->date);
  if (day != days_.end()) {
    const FolderUse gone{std::min(old->use.folders, day->second.folders), std::min(old->use.inodes, day->second.inodes),
                         std::min(old->use.bytes, day->second.bytes)};
    day->second -= gone;
    used_ -= gone;
  }
  return old;
}

void Retention::forget_emptied_days() {
  for (const auto& date : old_.emptied_days()) {
    const auto day = days_.find(date);
    if (day == days_.end()) continue;
    used_ -= day->second;
    days_.erase(day);
  }
}

bool Retention::any_expired() const {
  return !expired_before_.empty() && !days_.empty() && days_.begin()->first < expired_before_;
}

bool Retention::has_to_remove() const { return any_expired() || over_limit(1, {}); }

std::optional<OldFolder> Retention::reusable() {
  if (over_limit(1, kUsualFolder) || disk_is_low_) return take("");
  return any_expired() ? take(expired_before_) : std::nullopt;
}

std::optional<OldFolder> Retention::oldest() { return take(""); }

void Retention::add(const std::string& date, const FolderUse& use, JournalPosition end, bool already_there) {
  if (end <= counted_ || (already_there && listed_.contains(date))) return;
  days_[date] += use;
  used_ += use;
}

std::uint64_t Retention::tidy() {
  const SteadyTime now = clock_.steady();
  const std::chrono::duration<double> elapsed = std::min<SteadyTime::duration>(now - tidied_, std::chrono::seconds(1));
  int allowed = static_cast<int>(elapsed.count() * options_.removed_per_second);
  if (allowed > 0) tidied_ = now;
  if (now - measured_ >= kMeasureEvery) {
    if (auto measured = measure_disk(); !measured) spdlog::warn("{}", measured.error().message);
    expired_before_ = expired_before();
  }
  std::uint64_t removed = 0;
  const auto remove_one = [&](std::string_view before) {
    const auto old = take(before);
    if (!old) return false;
    tree_.remove(old->name);
    ++removed;
    return true;
  };
  for (int left = kTidyPerCall; left > 0 && over_limit(kFarOver, {}) && remove_one("");) --left;
  while (allowed-- > 0 && has_to_remove())
    if (!remove_one(any_expired() ? std::string_view(expired_before_) : std::string_view())) break;
  return removed;
}

Status Retention::save(JournalPosition read) {
  boost::json::object days;
  for (const auto& [date, use] : days_)
    days[date] = {{"folders", use.folders}, {"inodes", use.inodes}, {"bytes", use.bytes}};
  counted_ = std::max(counted_, read);
  const boost::json::object usage{{"counted", {{"segment", counted_.segment}, {"offset", counted_.offset}}},
                                  {"days", days}};
  const auto fresh = usage_file_.string() + ".new";
  {
    std::ofstream file(fresh, std::ios::trunc);
    file << boost::json::serialize(usage) << '\n';
    file.flush();
    if (!file) return folder_error("cannot write " + fresh, errno ? errno : EIO);
  }
  std::error_code error;
  std::filesystem::rename(fresh, usage_file_, error);
  return error ? Status(folder_error("cannot rename " + fresh, error.value())) : Status{};
}

std::string Retention::bound() const {
  std::string text = options_.days > 0 ? std::to_string(options_.days) + " days, at most " : "any age, at most ";
  text += gigabytes(bytes_max_);
  if (inodes_max_ > 0) text += " and " + with_thousands(inodes_max_) + " files and folders";
  return text;
}

}  // namespace fused
