// Batches of one piece (row group, record batch, range of lines) of a file.
#pragma once
#include <arrow/record_batch.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ingest/read/source.hpp"

namespace fused::ingest {

inline constexpr std::int64_t kBatchRows = 32'768;

// `first_row` of the batch in its source (of a CSV file: in its piece). An error ends the reading.
using SeeBatch = std::function<Status(std::shared_ptr<arrow::RecordBatch>, std::int64_t first_row)>;

// Any thread. `columns` are read, more may come. An IPC stream has one piece.
Status read_group(const Source& source, std::int64_t group, const std::vector<std::string>& columns,
                  const SeeBatch& see);
Status read_csv_group(const Source& source, std::int64_t group, const std::vector<std::string>& columns,
                      const SeeBatch& see);

}  // namespace fused::ingest
