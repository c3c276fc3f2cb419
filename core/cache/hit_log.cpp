#include "cache/hit_log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>

#include "base/text.hpp"
#include "cache/segment_file.hpp"
#include "storage/file_descriptor.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::size_t kUnwrittenBytesMax = 4 << 20;

}  // namespace

void HitLog::add(HitRecord record) {
  std::string key;
  key.reserve(128);
  for (const std::string* part : {&record.cached_from, &record.user_email, &record.udf_name, &record.state})
    key.append(*part).append(1, '\n');
  const std::lock_guard lock(mutex_);
  Group& group = groups_[std::move(key)];
  ++group.count;
  if (group.requests.size() < kRequestsListed) group.requests.push_back(record.request_id);
  if (group.count == 1) group.record = std::move(record);
}

Status HitLog::flush() {
  std::unordered_map<std::string, Group> groups;
  {
    const std::lock_guard lock(mutex_);
    groups.swap(groups_);
  }
  if (groups.empty() && unwritten_.empty()) return {};
  const WallTime now = clock_.now();
  for (auto& [key, group] : groups) {
    const HitRecord& record = group.record;
    json::array requests;
    for (const auto& id : group.requests) requests.emplace_back(valid_utf8(id));
    const auto text_or_null = [](const std::string& text) {
      return text.empty() ? json::value() : json::value(valid_utf8(text));
    };
    const json::object line{{"time", format_utc(now)},
                            {"cache", true},
                            {"state", record.state},
                            {"count", group.count},
                            {"request_ids", std::move(requests)},
                            {"user_email", valid_utf8(record.user_email)},
                            {"udf_name", valid_utf8(record.udf_name)},
                            {"udf_id", text_or_null(record.udf_id)},
                            {"revision", text_or_null(record.revision)},
                            {"by_share_token", record.by_share_token},
                            {"cached_from", record.cached_from}};
    unwritten_ += json::serialize(line);
    unwritten_ += '\n';
  }
  const std::string today = format_utc_date(now);
  if (today != day_) remove_old(today);
  day_ = today;
  ::mkdir(folder_.c_str(), 0700);
  const std::string name = (folder_ / (today + ".jsonl")).string();
  const FileDescriptor file(::open(name.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  struct stat is{};
  Status written;
  if (!file || ::fstat(file.get(), &is) != 0)
    written = fail_errno("cannot open " + name, errno);
  else if (static_cast<std::uint64_t>(is.st_size) + unwritten_.size() > kFileBytesMax)
    ++lost_, unwritten_.clear();
  else
    written = write_at(file.get(), unwritten_, static_cast<std::uint64_t>(is.st_size), name);
  if (written) {
    unwritten_.clear();
  } else if (unwritten_.size() > kUnwrittenBytesMax) {
    ++lost_;
    unwritten_.clear();
  }
  return written;
}

void HitLog::remove_old(const std::string& today) {
  const std::string oldest = format_utc_date(clock_.now() - std::chrono::hours(24 * days_kept_));
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    if (name.size() == today.size() + 6 && name.ends_with(".jsonl") && name.substr(0, today.size()) < oldest)
      ::unlink(entry.path().c_str());
  }
}

}  // namespace fused
