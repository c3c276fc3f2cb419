#include "ingest/write/publish.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace fused::ingest {

Result<bool> publish_folder(const std::string& made, const std::string& output) {
  const auto sync = [](const std::string& path) -> Status {
    const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail_errno("opening " + path, errno);
    const int outcome = fsync(fd);
    const int error_number = errno;
    close(fd);
    if (outcome != 0) return fail_errno("syncing " + path, error_number);
    return {};
  };
  FUSED_CHECK(sync(made));
  bool replaced = false;
  // rename also replaces an empty folder; anything else there is exchanged.
  if (rename(made.c_str(), output.c_str()) != 0) {
    if (errno != ENOTEMPTY && errno != EEXIST) return fail_errno("putting the table at " + output, errno);
    if (renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, output.c_str(), RENAME_EXCHANGE) != 0)
      return fail_errno("exchanging the old table at " + output + " for the new one", errno);
    replaced = true;
  }
  const std::string parent = std::filesystem::path(output).parent_path();
  FUSED_CHECK(sync(parent.empty() ? "." : parent));
  return replaced;
}

}  // namespace fused::ingest
