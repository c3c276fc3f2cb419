// DIR of the documents: what lies where, who may open it, and that only one server does.
//
//   VERSION     number of the on-disk layout; a newer one is refused
//   lock        held with flock by the running server (the kernel lets go when it dies); holds its pid
//   token       the owner's token, mode 0600
//   share-key   from which share tokens are derived, mode 0600
//   cache-key   from which the keys of functions' own caches are derived, mode 0600; job-link-key: links to results
//   state.db    the index (storage/database.hpp)
//   mount/      /mount of the functions; mount/fused-system/{logs,cached_data}
//   s3/         buckets as folders; s3/fused-users/<organisation>/{<username>,fused-system/…}
//   scratch/    of running functions; emptied at start
//   cache/      results that are answered again (docs/decisions/0004-result-cache.md)
//   journal/    records of runs that have no folder yet; jobs/, job-data/: of jobs (jobs/job_files.hpp)
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "base/result.hpp"
#include "storage/file_descriptor.hpp"
#include "storage/path_resolver.hpp"
#include "storage/write_gate.hpp"

namespace fused {

inline constexpr int kDataVersion = 1;

class DataFolder {
 public:
  // Makes what is missing (folders 0700). Refused, each with what to do: a newer VERSION, a folder that another server
  // holds (names its pid), a folder that holds something else and no VERSION.
  static Result<DataFolder> open(const std::filesystem::path& root);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path mount() const { return path_ / "mount"; }
  std::filesystem::path logs() const { return path_ / "mount/fused-system/logs"; }
  std::filesystem::path cached_data() const { return path_ / "mount/fused-system/cached_data"; }
  std::filesystem::path s3() const { return path_ / "s3"; }
  std::filesystem::path scratch() const { return path_ / "scratch"; }
  std::filesystem::path journal() const { return path_ / "journal"; }
  std::filesystem::path state_db() const { return path_ / "state.db"; }

  // Paths relative to `files()`: "s3/fused-users/<organisation>/<username>" and "…/fused-system/history".
  static std::string home(std::string_view organisation, std::string_view username);
  static std::string history(std::string_view organisation);
  // Home and system folders of a user, made when he is.
  Status make_home(std::string_view organisation, std::string_view username) const;

  const PathResolver& files() const { return *files_; }  // rooted at DIR
  WriteGate& gate() const { return *gate_; }

 private:
  DataFolder() = default;
  std::filesystem::path path_;
  FileDescriptor lock_;
  std::unique_ptr<PathResolver> files_;
  std::unique_ptr<WriteGate> gate_;
};

}  // namespace fused
