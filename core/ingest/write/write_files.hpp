// Files of the table, several at once.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ingest/progress.hpp"
#include "ingest/write/file_writer.hpp"
#include "ingest/write/rows_of_chunk.hpp"
#include "ingest/write/target.hpp"

namespace fused::ingest {

struct WriteJob {
  const Options& options;
  const TableColumns& table;
  const RowFormat& format;
  const Partition& partition;
  bool has_empty = false;                           // some row has no geometry
  std::function<std::unique_ptr<FileRows>()> rows;  // for one thread
  Target& target;
  // Files that are whole already (--resume), by number: their chunks and bytes.
  struct Done {
    std::vector<ChunkRow> chunks;
    std::int64_t bytes = 0;
  };
  std::map<std::uint32_t, Done> done;
  std::function<Status(std::uint32_t file, const Done&)> on_done;  // called once a file is safe; any thread
};

struct Written {
  std::vector<ChunkRow> chunks;  // in order
  std::int64_t bytes = 0;
};

std::string file_id(const Options& options, std::uint32_t number);
Result<Written> write_files(WriteJob& job, Progress& progress);

}  // namespace fused::ingest
