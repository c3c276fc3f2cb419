// What this process remembers of files and locks is guarded by one mutex that a fork takes and gives back, so that a
// forked child finds the tables whole and nobody inside.
#pragma once
#include <mutex>

namespace fused {

std::mutex& process_tables_mutex();

}  // namespace fused
