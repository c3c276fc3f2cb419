// The one way in which a file that somebody will be told about reaches the disk: temporary name, fsync, rename, fsync
// of the folder. Afterwards it survives kill -9 and power loss; before, a reader sees the old file or none, never a
// part.
#pragma once
#include <sys/types.h>

#include <string_view>

#include "base/result.hpp"
#include "storage/write_gate.hpp"

namespace fused {

// Writes or replaces `name` in the folder that `folder_fd` holds open. `name` is one path component
// (path_resolver.hpp). storage_full (507) when the disk is full: nothing is left behind. A failed fsync closes the
// gate. Any thread.
Status durable_write(WriteGate& gate, int folder_fd, std::string_view name, std::string_view bytes, mode_t mode = 0600);
// The same, with the temporary name in another folder of the file system (DIR), where the next start finds and removes
// what a killed server left: for files in folders that are never read through.
Status durable_write_staged(WriteGate& gate, int staging_fd, int folder_fd, std::string_view name,
                            std::string_view bytes, mode_t mode = 0600);
// fsync of an open folder, so that names made or removed in it last. A failure closes the gate.
Status sync_folder(WriteGate& gate, int folder_fd);

// Names of files that are being written begin so; what a killed server left of them is removed at the next start.
inline constexpr std::string_view kTemporaryPrefix = ".writing-";

}  // namespace fused
