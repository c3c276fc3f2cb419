// What the server's rooms have counted, for /health and /metrics.
#pragma once
#include <prometheus/metric_family.h>

#include <cstdint>
#include <string>
#include <vector>

#include "batch/batch_figures.hpp"
#include "cache/result_cache.hpp"
#include "functions/history_outbox.hpp"
#include "jobs/job_figures.hpp"
#include "logs/run_log.hpp"
#include "run/run_service.hpp"
#include "tiles/table_service.hpp"
#include "worker/pool.hpp"

namespace fused {

struct ServerFigures {
  PoolFigures pool;
  RunFigures runs;
  RunLogMetrics logs;
  std::string read_only;  // why, or ""
  std::size_t functions = 0;
  ResultCacheFigures cache;
  HistoryOutboxFigures history;
  TableFigures tables;
  JobFigures jobs;
  BatchFigures batches;
  std::int64_t disk_free_bytes = 0, disk_size_bytes = 0, disk_free_inodes = 0;
};

std::vector<prometheus::MetricFamily> families_of(const ServerFigures& figures);

}  // namespace fused
