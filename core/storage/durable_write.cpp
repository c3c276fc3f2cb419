#include "storage/durable_write.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "base/ids.hpp"
#include "storage/file_descriptor.hpp"
#include "storage/path_resolver.hpp"
#include "storage/watched_write.hpp"

namespace fused {
namespace {

Status write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno("write", errno);
    if (written == 0) return fail_errno("write", ENOSPC);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Status sync_descriptor(WriteGate& gate, int descriptor, std::string_view what) {
  const std::string shown = "fsync of " + std::string(what);
  const WatchedWrite watch(shown);
  if (::fsync(descriptor) == 0) return {};
  auto error = fail_errno(shown, errno);
  gate.close(error.error().message);
  return error;
}

}  // namespace

Status sync_folder(WriteGate& gate, int folder_fd) { return sync_descriptor(gate, folder_fd, "a folder"); }

Status durable_write_staged(WriteGate& gate, int staging_fd, int folder_fd, std::string_view name,
                            std::string_view bytes, mode_t mode) {
  FUSED_CHECK(gate.check());
  FUSED_CHECK(check_component(name));
  const std::string final_name(name);
  const std::string temporary = std::string(kTemporaryPrefix) + new_uuid();
  constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
  FileDescriptor file(::openat(staging_fd, temporary.c_str(), flags, mode));
  if (!file) return fail_errno("cannot create a file for '" + final_name + "'", errno);
  Status status = write_all(file.get(), bytes);
  if (status) status = sync_descriptor(gate, file.get(), "'" + final_name + "'");
  // Some file systems report a failed write only here.
  if (::close(file.release()) != 0 && status) status = fail_errno("close of '" + final_name + "'", errno);
  int renamed = 0;
  if (status && ::renameat(staging_fd, temporary.c_str(), folder_fd, final_name.c_str()) != 0) renamed = errno;
  if (!status || renamed != 0) ::unlinkat(staging_fd, temporary.c_str(), 0);
  if (!status) return status;
  // A part of the data folder may be a mount of its own.
  if (renamed == EXDEV && staging_fd != folder_fd) return durable_write(gate, folder_fd, name, bytes, mode);
  if (renamed != 0) return fail_errno("cannot rename to '" + final_name + "'", renamed);
  return sync_folder(gate, folder_fd);
}

Status durable_write(WriteGate& gate, int folder_fd, std::string_view name, std::string_view bytes, mode_t mode) {
  return durable_write_staged(gate, folder_fd, folder_fd, name, bytes, mode);
}

}  // namespace fused
