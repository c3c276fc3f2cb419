// Audit records of answers that came from the cache: DIR/cache/hits/{date}.jsonl. They have no log folder; the folder
// of the run that made the result is named. Answers of one result to one user within a flush are one line with a count,
// so that a busy tile does not fill the disk. What was answered less than a flush before kill -9 is lost.
#pragma once
#include <filesystem>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "base/result.hpp"

namespace fused {

struct HitRecord {
  std::string request_id;
  std::string user_email;
  std::string udf_name;
  std::string udf_id;
  std::string revision;
  std::string cached_from;  // run id
  std::string state;        // hit | stale
  bool by_share_token = false;
};

class HitLog {
 public:
  static constexpr std::size_t kRequestsListed = 16;
  static constexpr std::uint64_t kFileBytesMax = 64 << 20;  // of a day; beyond it answers are counted, not written

  HitLog(std::filesystem::path folder, const Clock& clock, int days_kept)
      : folder_(std::move(folder)), clock_(clock), days_kept_(days_kept) {}

  void add(HitRecord record);  // any thread
  Status flush();              // the writing thread; what cannot be written is kept for the next time, up to a bound
  std::uint64_t lost() const { return lost_; }

 private:
  struct Group {
    HitRecord record;
    std::uint64_t count = 0;
    std::vector<std::string> requests;
  };
  void remove_old(const std::string& today);

  std::filesystem::path folder_;
  const Clock& clock_;
  int days_kept_;
  std::mutex mutex_;
  std::unordered_map<std::string, Group> groups_;
  std::string unwritten_;
  std::string day_;
  std::uint64_t lost_ = 0;
};

}  // namespace fused
