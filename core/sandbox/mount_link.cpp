#include <unistd.h>

#include <cerrno>

#include "sandbox/sandbox.hpp"

namespace fused {
namespace fs = std::filesystem;

bool mount_link_stands(const fs::path& mount, const fs::path& link) {
  std::error_code error;
  return !mount.empty() && fs::is_symlink(link, error) && fs::equivalent(link, mount, error);
}

Status prepare_mount_link(const fs::path& mount, const fs::path& link) {
  if (mount_link_stands(mount, link)) return {};
  std::error_code error;
  const auto mend = "; functions get the folder as FUSED_MOUNT. To have it as " + link.string() + ", run: ln -s " +
                    mount.string() + " " + link.string();
  if (fs::is_symlink(fs::symlink_status(link, error))) {
    return fail(ErrorKind::conflict, link.string() + " is a link to '" + fs::read_symlink(link, error).string() +
                                         "', which is not this server's mount folder" + mend);
  }
  if (fs::exists(fs::symlink_status(link, error))) {
    return fail(ErrorKind::conflict, link.string() + " exists and is not a link" + mend);
  }
  if (::symlink(mount.c_str(), link.c_str()) == 0) return {};
  auto failed = fail_errno("cannot make the link " + link.string(), errno);
  failed.error().message += mend;
  return failed;
}

}  // namespace fused
