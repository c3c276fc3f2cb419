#include "http/server_metrics.hpp"

#include "http/metric_list.hpp"

namespace fused {
namespace {

class Families {
 public:
  template <class T>
  void add(const MetricName& name, T value) {
    family(name).metric.push_back(one(name, static_cast<double>(value), {}));
  }
  struct Part {
    const char* value;
    double number;
  };
  void add(const MetricName& name, const char* label, std::initializer_list<Part> parts) {
    auto& made = family(name);
    for (const Part& part : parts) made.metric.push_back(one(name, part.number, {{label, part.value}}));
  }
  std::vector<prometheus::MetricFamily> take() { return std::move(families_); }

 private:
  prometheus::MetricFamily& family(const MetricName& name) {
    auto& made = families_.emplace_back();
    made.name = name.name;
    made.help = name.help;
    made.type = name.kind == MetricKind::counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
    return made;
  }
  static prometheus::ClientMetric one(const MetricName& name, double value,
                                      std::vector<prometheus::ClientMetric::Label> labels) {
    prometheus::ClientMetric made;
    made.label = std::move(labels);
    (name.kind == MetricKind::counter ? made.counter.value : made.gauge.value) = value;
    return made;
  }
  std::vector<prometheus::MetricFamily> families_;
};

double number(auto value) { return static_cast<double>(value); }

void add_logs(Families& all, const RunLogMetrics& logs) {
  all.add(metric::kLogRecords, logs.appended);
  all.add(metric::kLogRecordsLost, logs.records_lost);
  all.add(metric::kLogFolders, "outcome",
          {{"written", number(logs.folders_written)},
           {"recycled", number(logs.folders_recycled)},
           {"removed", number(logs.folders_removed)},
           {"given_up", number(logs.folders_given_up)}});
  all.add(metric::kLogReplayed, logs.replayed);
  all.add(metric::kLogErrors, logs.errors);
  all.add(metric::kLogDamaged, logs.journal_damaged);
  all.add(metric::kLogBacklogRecords, logs.backlog_records);
  all.add(metric::kLogBacklogBytes, logs.backlog_bytes);
  all.add(metric::kLogJournalBytes, logs.journal_bytes);
  all.add(metric::kLogBehind, logs.seconds_behind);
  all.add(metric::kLogWaits, logs.waits);
  all.add(metric::kLogUsedBytes, logs.used.bytes);
  all.add(metric::kLogLimitBytes, logs.bytes_max);
  all.add(metric::kLogUsedInodes, logs.used.inodes);
  all.add(metric::kLogLimitInodes, logs.inodes_max);
  all.add(metric::kLogCpu, logs.folder_cpu_seconds);
}

void add_cache(Families& all, const ResultCacheFigures& cache) {
  all.add(metric::kCacheAnswers, "answer",
          {{"hit", number(cache.hits)},
           {"stale", number(cache.stale)},
           {"joined", number(cache.joined)},
           {"miss", number(cache.misses)}});
  all.add(metric::kCacheStored, "outcome", {{"stored", number(cache.stored)}, {"given_up", number(cache.not_stored)}});
  all.add(metric::kCacheEntries, "place",
          {{"disk", number(cache.disk.entries)}, {"memory", number(cache.memory_entries)}});
  all.add(metric::kCacheBytes, "place", {{"disk", number(cache.disk.bytes)}, {"memory", number(cache.memory_bytes)}});
  all.add(metric::kCacheLimitBytes, cache.limit_bytes);
  all.add(metric::kCacheEvictions, cache.disk.evicted);
  all.add(metric::kCacheCompactions, cache.disk.compacted);
  all.add(metric::kCacheDamaged, cache.disk.damaged);
  all.add(metric::kCacheTrouble, cache.trouble.empty() ? 0 : 1);
}

void add_jobs(Families& all, const JobFigures& jobs) {
  all.add(metric::kJobsOpen, jobs.scheduler.open_jobs);
  all.add(metric::kJobs, "end",
          {{"done", number(jobs.done)}, {"failed", number(jobs.failed)}, {"canceled", number(jobs.canceled)}});
  all.add(metric::kJobsSubmitted, jobs.submitted);
  all.add(metric::kJobTasksRunning, jobs.scheduler.processes);
  all.add(metric::kJobTasks, "outcome",
          {{"recorded", number(jobs.scheduler.recorded)},
           {"late", number(jobs.scheduler.fenced)},
           {"lost", number(jobs.scheduler.lost)}});
  all.add(metric::kJobMemory, jobs.scheduler.in_use.memory_bytes);
  all.add(metric::kJobLines, "outcome", {{"kept", number(jobs.log.lines)}, {"dropped", number(jobs.log.dropped)}});
}

void add_batches(Families& all, const BatchFigures& batches) {
  all.add(metric::kBatchesOpen, batches.open);
  all.add(metric::kBatchesOpened, batches.opened);
  all.add(metric::kBatchCallsWaiting, batches.waiting);
  all.add(metric::kBatchCalls, batches.calls);
}

}  // namespace

std::vector<prometheus::MetricFamily> families_of(const ServerFigures& f) {
  Families all;
  all.add(metric::kRuns, "result", {{"ok", number(f.runs.ok)}, {"failed", number(f.runs.failed)}});
  all.add(metric::kRunsRunning, f.runs.running);
  all.add(metric::kQueueWaiting, f.pool.queued);
  all.add(metric::kQueueRefused, f.pool.refused);
  all.add(metric::kWorkers, "state",
          {{"alive", number(f.pool.alive)}, {"busy", number(f.pool.busy)}, {"blank", number(f.pool.blank)}});
  all.add(metric::kWorkerSlots, f.pool.workers);
  all.add(metric::kJobWorkers, "state", {{"running", number(f.pool.beside)}, {"spare", number(f.pool.spares)}});
  all.add(metric::kJobSpareBytes, f.pool.spare_bytes);
  all.add(metric::kWorkersForked, f.pool.forked);
  all.add(metric::kWorkersEnded, f.pool.lost);
  all.add(metric::kFunctions, f.functions);
  all.add(metric::kReadOnly, f.read_only.empty() ? 0 : 1);
  all.add(metric::kDiskFree, f.disk_free_bytes);
  all.add(metric::kDiskFreeInodes, f.disk_free_inodes);
  add_logs(all, f.logs);
  add_cache(all, f.cache);
  all.add(metric::kTableTiles, "answer",
          {{"made", number(f.tables.tiles_made)},
           {"cached", number(f.tables.tiles_cached)},
           {"joined", number(f.tables.tiles_joined)},
           {"failed", number(f.tables.tiles_failed)}});
  all.add(metric::kTableReads, "result", {{"ok", number(f.tables.reads)}, {"failed", number(f.tables.reads_failed)}});
  all.add(metric::kTableTileBytes, f.tables.cache_bytes);
  all.add(metric::kTableProcesses, f.tables.processes_started);
  add_jobs(all, f.jobs);
  add_batches(all, f.batches);
  all.add(metric::kHistoryBacklog, f.history.backlog);
  all.add(metric::kHistorySent, f.history.sent);
  return all.take();
}

}  // namespace fused
