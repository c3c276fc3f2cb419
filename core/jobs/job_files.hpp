// Where jobs lie on disk. On the jobs' thread of files, but for what only names a path.
//
//   s3/fused-users/<organisation>/fused-system/job-configs/{YYYY-MM-DD}/{job_id}/file.json   what was submitted
//   jobs/{job_id}/log.jsonl                          its lines (job_log.hpp)
//   jobs/{job_id}/results/{task}.{attempt}.{format}  bytes of a result, and beside them .metadata
//   jobs/{job_id}/usage.jsonl                        memory and processor time of its tasks, at most kUsageBytesMax
//   jobs/{job_id}/progress                           what increment-progress has added up to
//   jobs/{job_id}/processes/{attempt}                "<pid> <started>": of an attempt that runs
//   job-data/{job_id}/                               what its tasks share (fused.file_path); goes when the job has
//   ended
//
// Where tasks run on other machines that share /mount, job-data lies in mount/fused-system.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/result.hpp"
#include "jobs/job.hpp"
#include "storage/data_folder.hpp"

namespace fused {

class JobFiles {
 public:
  // Beyond it samples are thinned out (usage_lines.hpp).
  static constexpr std::int64_t kUsageBytesMax = 8 << 20;

  // Where the tasks of a job have their shared folder.
  enum class Sharing { here, by_mount, none };
  JobFiles(const DataFolder& data, Sharing sharing) : data_(data), sharing_(sharing) {}

  const DataFolder& data() const { return data_; }
  static std::string config_path(std::string_view organisation, std::string_view job_id, WallTime submitted);
  std::filesystem::path folder(std::string_view job_id) const { return data_.path() / "jobs" / job_id; }

  // Logs what could not be done where nobody waits for it: a line in ten seconds, with how many there were. Any thread.
  void tell(const std::string& job_id, const Status& done) const;

  Status write_config(const std::string& path, std::string_view text) const;  // durable
  Result<std::string> read_config(const std::string& path) const;
  Status make_folder(const std::string& job_id) const;

  // The name below results/ when both are durable. An attempt's names are its own: one that comes late cannot touch
  // what another has had recorded.
  Result<std::string> write_result(const std::string& job_id, std::int64_t task, AttemptId attempt,
                                   std::string_view format, std::string_view bytes, std::string_view metadata) const;
  Status remove_result(const std::string& job_id, const std::string& name) const;
  // A mapping of the file, or its bytes where it is small.
  Result<Bytes> read_result(const std::string& job_id, const std::string& name) const;

  Status note_process(const std::string& job_id, AttemptId attempt, pid_t pid, std::uint64_t started) const;
  Status forget_process(const std::string& job_id, AttemptId attempt) const;
  struct Process {
    pid_t pid = 0;
    std::uint64_t started = 0;
  };
  Result<std::optional<Process>> process(const std::string& job_id, AttemptId attempt) const;  // nothing: not noted

  Status append_usage(const std::string& job_id, std::string_view lines) const;
  Result<std::string> usage(const std::string& job_id) const;                               // its lines
  Result<std::int64_t> add_progress(const std::string& job_id, std::int64_t amount) const;  // 0: reads it

  // The config first: while there is a folder, a sweep finds what a kill left of both.
  Status remove(const std::string& job_id, const std::string& config_path) const;

  struct Found {
    std::vector<std::string> jobs;   // ids of those that have a folder
    std::vector<std::string> aside;  // names of folders that a sweep has put aside and a kill left
    std::vector<std::string> days;   // folders of configs
  };
  Result<Found> folders() const;
  // Of a job that has no row: its config, in one of `days`, goes, and its folder gets a name under which no job is
  // found; gives that name. Quick, whatever lies in it. "" and nothing is done where the folder is older than `since`
  // (s since 1970), when the state database was made: then it is another database's.
  Result<std::string> put_aside(const std::string& job_id, const std::vector<std::string>& days,
                                std::int64_t since) const;
  Status remove_aside(const std::string& name) const;  // may take long; any thread

  // The shared folder, made where it is not there; "" where there is none.
  Result<std::filesystem::path> make_shared(const std::string& job_id) const;
  // May take long: functions make as many files as they like. Any thread.
  Status remove_shared(const std::string& job_id) const;
  Result<std::vector<std::string>> jobs_with_shared() const;  // ids; what is not named as one is not ours

 private:
  std::filesystem::path shared_root() const;
  const DataFolder& data_;
  Sharing sharing_;
  mutable std::mutex telling_;
  mutable SteadyTime tell_at_{};
  mutable std::size_t untold_ = 0;
};

// "3.9a.parquet" → "3.parquet": what a client is shown.
std::string shown_result_name(std::string_view name);

}  // namespace fused
