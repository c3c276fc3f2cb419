// Every setting of the server, with its unit in the name. main.cpp fills it from flags, FUSED_* and a TOML file, in
// that order; docs/reference/settings.md lists each (tests/tidy compares).
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace fused {

// What one run may use, children counted in. Server defaults; a function may ask for less.
struct RunLimits {
  std::int64_t wall_ms = 120'000;
  std::int64_t memory_bytes = 4LL << 30;
  std::int64_t stream_bytes = 8LL << 20;  // each of stdout and stderr; head and tail are kept
  std::int64_t result_bytes = 512LL << 20;
  std::int64_t processes = 512;  // processes and threads
  std::int64_t descriptors = 4'096;
  std::int64_t disk_written_bytes = 8LL << 30;
  std::int64_t files_made = 100'000;
};

struct Settings {
  std::string host = "127.0.0.1";
  int port = 8783;
  std::filesystem::path data = "data";           // DIR of the documents
  std::filesystem::path serve_folder;            // fused serve FOLDER; empty: none
  bool watch = false;                            // reload serve_folder on save
  std::string isolation = "auto";                // auto | none
  bool network = true;                           // may functions open network sockets
  int workers = 0;                               // concurrent runs; 0: one per core
  int queue_length = 0;                          // waiting runs; 0: 48 per worker
  int worker_runs_max = 10'000;                  // a worker is replaced after so many runs
  std::int64_t worker_growth_bytes = 1LL << 30;  // or when its memory has grown by so much
  RunLimits limits;
  int recursion_max = 5;
  std::string s3_endpoint;     // object store behind s3://, for libraries inside functions and for history files
  bool share_s3_keys = false;  // functions have the keys of the server's environment for it

  std::int64_t header_bytes_max = 32 << 10;
  std::int64_t uri_bytes_max = 12 << 20;  // 10 MiB parameters must be refused by name, not by a broken connection
  std::int64_t body_bytes_max = 64LL << 20;
  std::int64_t spool_bytes_max = 4LL << 30;  // of disk, for all bodies over 1 MiB that are being read or used
  int drain_seconds = 30;                    // running requests may finish within it after SIGTERM
  std::vector<std::string> allow_hosts;      // names accepted in Host beside localhost and IP literals
  std::vector<std::string> cors_origins;     // origins that may call with a token
  std::string log_format = "text";           // text | json
  std::string log_level = "info";
  std::int64_t cache_max_age_seconds = 90 * 86'400;  // of results, where neither call nor function say one; 0: none
  std::int64_t cache_bytes_max = 10LL << 30;         // of disk
  std::int64_t cache_memory_bytes = 128 << 20;
  int log_retention_days = 90;        // run folders
  double log_disk_share = 0.1;        // of the disk's bytes or inodes, whichever is reached first
  int job_cores = 0;                  // of all jobs together; 0: all of the machine
  std::int64_t job_memory_bytes = 0;  // of all jobs together; 0: half of the machine's
  int job_lease_ms = 30'000;          // a task without a sign of life for so long is started again
  std::string smtp_url;               // mail server for the ends of jobs: smtp[s]://[user:password@]host[:port]
  std::string smtp_from;              // who writes; "": fused@ and the machine's name
  std::string jobs = "local";         // where tasks run: local | ray
  std::string ray_address;            // of the cluster's head, http://HOST:8265
  std::string ray_server_url;         // this server as the nodes reach it; "": http://host:port
  std::string ray_mount;              // the folder of each node that is /mount there; "": an empty one of its own
  bool strict_instances = false;      // an instance type that the machine is too small for is refused, not cut
  std::string python;                 // interpreter of the workers; empty: the one of the environment
};

}  // namespace fused
