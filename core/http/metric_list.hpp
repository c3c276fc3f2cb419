// Every name that /metrics prints, in one place: what it counts, and whether it only grows. Units stand in the names.
#pragma once
#include <string_view>

namespace fused {

enum class MetricKind { counter, gauge, histogram };

struct MetricName {
  std::string_view name;
  MetricKind kind;
  std::string_view help;
};

namespace metric {
using enum MetricKind;

// Counted as they happen (http_metrics.cpp).
inline constexpr MetricName kRequests{"fused_http_requests_total", counter,
                                      "Requests answered, by operation and class of status"};
inline constexpr MetricName kRequestSeconds{
    "fused_http_request_seconds", histogram,
    "Time from the first byte of a request to its reply being handed to the socket"};
inline constexpr MetricName kBodyBytes{"fused_http_body_bytes_total", counter,
                                       "Bytes of request bodies received and reply bodies sent"};
inline constexpr MetricName kRefusedConnections{
    "fused_http_connections_refused_total", counter,
    "Connections closed because too many are open, in all or of one address"};
inline constexpr MetricName kConnections{"fused_http_connections", gauge, "Open connections"};
inline constexpr MetricName kInboundBytes{"fused_http_inbound_bytes", gauge,
                                          "Memory held by requests that are not complete yet"};
inline constexpr MetricName kSpooledBytes{"fused_http_spooled_bytes", gauge,
                                          "Disk held by large bodies that are being read or used"};
inline constexpr MetricName kAcceptShortages{
    "fused_http_accept_shortages_total", counter,
    "Times that no connection could be taken because descriptors or memory had run out"};

// Looked up when /metrics is asked (server_metrics.cpp).
inline constexpr MetricName kRuns{"fused_runs_total", counter, "Runs that ended, by result: ok or failed"};
inline constexpr MetricName kRunsRunning{"fused_runs_running", gauge, "Runs that wait or run now"};
inline constexpr MetricName kQueueWaiting{"fused_queue_waiting_runs", gauge, "Runs that wait for a worker"};
inline constexpr MetricName kQueueRefused{"fused_queue_refused_total", counter,
                                          "Runs refused with 429 because too many waited"};
inline constexpr MetricName kWorkers{"fused_workers", gauge, "Worker processes, by state: alive, busy or blank"};
inline constexpr MetricName kWorkerSlots{"fused_worker_slots", gauge, "Runs that may run at once"};
inline constexpr MetricName kWorkersForked{"fused_workers_forked_total", counter, "Worker processes made"};
inline constexpr MetricName kWorkersEnded{"fused_workers_ended_total", counter,
                                          "Worker processes that ended, for whatever reason"};
inline constexpr MetricName kFunctions{"fused_functions", gauge, "Saved functions and those of the served folder"};
inline constexpr MetricName kReadOnly{
    "fused_data_read_only", gauge,
    "1 while nothing can be made safe on disk and saves are refused (/health says why); else 0"};
inline constexpr MetricName kDiskFree{"fused_disk_free_bytes", gauge, "Free bytes on the data folder's disk"};
inline constexpr MetricName kDiskFreeInodes{"fused_disk_free_inodes", gauge,
                                            "Files that may still be made on the data folder's disk"};
inline constexpr MetricName kLogRecords{"fused_log_records_total", counter, "Run records appended to the journal"};
inline constexpr MetricName kLogRecordsLost{"fused_log_records_lost_total", counter,
                                            "Runs without any log: the journal could not be written"};
inline constexpr MetricName kLogFolders{"fused_log_folders_total", counter,
                                        "Run folders, by what became of them: written, recycled, removed, given_up"};
inline constexpr MetricName kLogReplayed{"fused_log_records_replayed_total", counter,
                                         "Records of an earlier server that have their folder now"};
inline constexpr MetricName kLogErrors{"fused_log_folder_errors_total", counter, "Failed tries to make a run folder"};
inline constexpr MetricName kLogDamaged{
    "fused_log_journal_damaged_total", counter,
    "Unreadable parts of the journal, the torn end that a killed server leaves among them"};
inline constexpr MetricName kLogBacklogRecords{"fused_log_backlog_records", gauge,
                                               "Run records that wait for their folder"};
inline constexpr MetricName kLogBacklogBytes{"fused_log_backlog_bytes", gauge,
                                             "Bytes of run records that wait for their folder"};
inline constexpr MetricName kLogJournalBytes{"fused_log_journal_bytes", gauge, "Size of the journal on disk"};
inline constexpr MetricName kLogBehind{"fused_log_behind_seconds", gauge, "Age of the oldest run without its folder"};
inline constexpr MetricName kLogWaits{"fused_log_append_waits_total", counter,
                                      "Runs that were slowed because folders are made too slowly"};
inline constexpr MetricName kLogUsedBytes{"fused_log_used_bytes", gauge, "Disk taken by run folders"};
inline constexpr MetricName kLogLimitBytes{"fused_log_limit_bytes", gauge, "Disk that run folders may take"};
inline constexpr MetricName kLogUsedInodes{"fused_log_used_inodes", gauge, "Files and folders taken by run folders"};
inline constexpr MetricName kLogLimitInodes{"fused_log_limit_inodes", gauge,
                                            "Files and folders that run folders may take"};
inline constexpr MetricName kLogCpu{"fused_log_folder_cpu_seconds_total", counter,
                                    "Processor time of the thread that makes run folders"};
inline constexpr MetricName kCacheAnswers{
    "fused_cache_answers_total", counter,
    "Runs asked of the result cache, by how they were answered: hit, stale, joined (somebody else's run), miss"};
inline constexpr MetricName kCacheStored{"fused_cache_writes_total", counter,
                                         "Entries and marks for the disk, by outcome: stored or given_up"};
inline constexpr MetricName kCacheEntries{"fused_cache_entries", gauge, "Results that are kept, by place"};
inline constexpr MetricName kCacheBytes{"fused_cache_bytes", gauge, "Bytes of results that are kept, by place"};
inline constexpr MetricName kCacheLimitBytes{"fused_cache_limit_bytes", gauge, "Disk that results may take"};
inline constexpr MetricName kCacheEvictions{"fused_cache_evictions_total", counter,
                                            "Results given up on disk because others were worth more"};
inline constexpr MetricName kCacheCompactions{"fused_cache_compactions_total", counter,
                                              "Segments that were written anew without what was gone"};
inline constexpr MetricName kCacheDamaged{"fused_cache_damaged_total", counter,
                                          "Results on disk that did not prove whole and were not answered"};
inline constexpr MetricName kCacheTrouble{"fused_cache_not_storing", gauge,
                                          "1 while results cannot be stored (/health says why); else 0"};
inline constexpr MetricName kHistoryBacklog{"fused_history_backlog_objects", gauge,
                                            "History files that are not in the object store yet"};
inline constexpr MetricName kHistorySent{"fused_history_sent_total", counter,
                                         "History files that the object store has taken"};
inline constexpr MetricName kTableTiles{
    "fused_table_tiles_total", counter,
    "Vector tiles of tables, by how they were answered: made, cached, joined (somebody else's), failed"};
inline constexpr MetricName kTableReads{"fused_table_reads_total", counter, "Reads of table rows, by result"};
inline constexpr MetricName kTableTileBytes{"fused_table_tile_cache_bytes", gauge, "Bytes of tiles kept in memory"};
inline constexpr MetricName kTableProcesses{"fused_table_processes_started_total", counter,
                                            "Processes that read tables, started so far"};
inline constexpr MetricName kJobWorkers{"fused_job_workers", gauge,
                                        "Workers of tasks of jobs: running one, or forked ahead for the next (spare)"};
inline constexpr MetricName kJobSpareBytes{"fused_job_spare_worker_bytes", gauge,
                                           "Memory that the worker forked ahead holds, about"};
inline constexpr MetricName kBatchesOpen{"fused_batches_open", gauge, "Batches of fused.submit that are open"};
inline constexpr MetricName kBatchesOpened{"fused_batches_total", counter, "Batches opened"};
inline constexpr MetricName kBatchCallsWaiting{"fused_batch_calls_waiting", gauge,
                                               "Calls of open batches that have not begun"};
inline constexpr MetricName kBatchCalls{"fused_batch_calls_total", counter,
                                        "Calls of batches that ended for good: done, failed or cancelled"};
inline constexpr MetricName kJobsOpen{"fused_jobs_open", gauge, "Jobs that are pending or running"};
inline constexpr MetricName kJobsSubmitted{"fused_jobs_submitted_total", counter, "Jobs taken"};
inline constexpr MetricName kJobs{"fused_jobs_total", counter, "Jobs that ended, by how: done, failed, canceled"};
inline constexpr MetricName kJobTasksRunning{"fused_job_tasks_running", gauge,
                                             "Tasks of jobs whose processes are there"};
inline constexpr MetricName kJobTasks{
    "fused_job_attempts_total", counter,
    "Attempts at tasks, by what became of them: recorded, late (turned away), lost (no sign of life)"};
inline constexpr MetricName kJobMemory{"fused_job_memory_bytes", gauge, "Memory given to tasks of jobs that run"};
inline constexpr MetricName kJobLines{"fused_job_log_lines_total", counter,
                                      "Lines of the logs of jobs, by outcome: kept or dropped"};

}  // namespace metric
}  // namespace fused
