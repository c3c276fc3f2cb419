// Where jobs lie on disk. On the jobs' thread of files, but for what only names a path.
//
//   s3/fused-users/<organisation>/fused-system/job-configs/{YYYY-MM-DD}/{job_id}/file.json   what was submitted
//   jobs/{job_id}/log.jsonl                          its lines (job_log.hpp)
//   jobs/{job_id}/results/{task}.{attempt}.{format}  bytes of a result, and beside them .metadata
//   jobs/{job_id}/usage.jsonl                        memory and processor time of its tasks
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
  // Where the tasks of a job have their shared folder.
  enum class Sharing { here, by_mount, none };
  JobFiles(const DataFolder& data, Sharing sharing) : data_(data), sharing_(sharing) {}

  static std::string config_path(std::string_view organisation, std::string_view job_id, WallTime submitted);
  std::filesystem::path folder(std::string_view job_id) const { return data_.path() / "jobs" / job_id; }

  Status write_config(const std::string& path, std::string_view text) const;  // durable
  Result<std::string> read_config(const std::string& path) const;
  Status make_folder(const std::string& job_id) const;

  // The name below results/ when both are durable. An attempt's names are its own: one that comes late cannot touch
  // what another has had recorded.
  Result<std::string> write_result(const std::string& job_id, std::int64_t task, AttemptId attempt,
                                   std::string_view format, std::string_view bytes, std::string_view metadata) const;
  void remove_result(const std::string& job_id, const std::string& name) const;
  // A mapping of the file, or its bytes where it is small.
  Result<Bytes> read_result(const std::string& job_id, const std::string& name) const;

  void note_process(const std::string& job_id, AttemptId attempt, pid_t pid, std::uint64_t started) const;
  void forget_process(const std::string& job_id, AttemptId attempt) const;
  struct Process {
    pid_t pid = 0;
    std::uint64_t started = 0;
  };
  std::optional<Process> process(const std::string& job_id, AttemptId attempt) const;

  void append_usage(const std::string& job_id, std::string_view lines) const;
  std::string usage(const std::string& job_id) const;                               // its lines
  std::int64_t add_progress(const std::string& job_id, std::int64_t amount) const;  // 0: reads it

  void remove(const std::string& job_id, const std::string& config_path) const;

  // The shared folder, made where it is not there; "" where there is none.
  Result<std::filesystem::path> make_shared(const std::string& job_id) const;
  // May take long: functions make as many files as they like. Any thread.
  void remove_shared(const std::string& job_id) const;
  std::vector<std::string> jobs_with_shared() const;  // ids

 private:
  std::filesystem::path shared_root() const;
  const DataFolder& data_;
  Sharing sharing_;
};

// "3.9a.parquet" → "3.parquet": what a client is shown.
std::string shown_result_name(std::string_view name);

}  // namespace fused
