#include "sandbox/landlock.hpp"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/private_root.hpp"

namespace fused {
namespace {

namespace fs = std::filesystem;

// Rights and scopes that Debian 12's headers do not know yet.
constexpr std::uint64_t kTruncate = 1ULL << 14;     // ABI 3
constexpr std::uint64_t kDeviceIoctl = 1ULL << 15;  // ABI 5
constexpr std::uint64_t kScopeAbstractSocket = 1ULL << 0;
constexpr std::uint64_t kScopeSignal = 1ULL << 1;

struct RulesetAttributes {  // struct landlock_ruleset_attr of ABI 6
  std::uint64_t files = 0;
  std::uint64_t network = 0;
  std::uint64_t scoped = 0;
};

constexpr std::uint64_t kRead = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t kReadExecute = kRead | LANDLOCK_ACCESS_FS_EXECUTE;
constexpr std::uint64_t kDevice = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate;
constexpr std::uint64_t kFull =
    kReadExecute | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
    LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER | kTruncate;
constexpr std::uint64_t kOnFiles = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                   LANDLOCK_ACCESS_FS_EXECUTE | kTruncate | kDeviceIoctl;

std::uint64_t known_to(int abi) {
  std::uint64_t rights = (1ULL << 13) - 1;
  if (abi >= 2) rights |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) rights |= kTruncate;
  if (abi >= 5) rights |= kDeviceIoctl;
  return rights;
}

// What is not there needs no rule.
Status allow(int ruleset, const fs::path& path, std::uint64_t rights, std::uint64_t known) {
  const int file = ::open(path.c_str(), O_PATH | O_CLOEXEC);
  if (file < 0) return {};
  struct stat about{};
  landlock_path_beneath_attr rule{};
  rule.parent_fd = file;
  rule.allowed_access = rights & known;
  if (::fstat(file, &about) == 0 && !S_ISDIR(about.st_mode)) rule.allowed_access &= kOnFiles;
  const long added = ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  const int error = errno;
  ::close(file);
  if (added != 0) return fail_errno("landlock_add_rule " + path.string(), error);
  return {};
}

Status add_rules(int ruleset, const SandboxSpec& spec, bool private_root, std::uint64_t known) {
  for (const auto& path : system_paths()) FUSED_CHECK(allow(ruleset, path, kReadExecute, known));
  for (const auto& path : spec.python_paths) FUSED_CHECK(allow(ruleset, path, kReadExecute, known));
  for (const auto name : kDevices) FUSED_CHECK(allow(ruleset, fs::path("/dev") / name, kDevice, known));
  FUSED_CHECK(allow(ruleset, "/proc", kRead, known));
  FUSED_CHECK(allow(ruleset, "/dev/shm", kFull, known));
  FUSED_CHECK(allow(ruleset, spec.scratch, kFull, known));
  if (!spec.job.empty()) FUSED_CHECK(allow(ruleset, private_root ? job_folder_inside(spec) : spec.job, kFull, known));
  if (!private_root) return allow(ruleset, spec.mount, kFull, known);
  // Listing the root and the links in it shows nothing that is not ours.
  FUSED_CHECK(allow(ruleset, "/", LANDLOCK_ACCESS_FS_READ_DIR, known));
  FUSED_CHECK(allow(ruleset, "/tmp", kFull, known));
  return allow(ruleset, "/mount", kFull, known);
}

}  // namespace

Status restrict_files(const SandboxSpec& spec, bool private_root, int abi, bool scope) {
  RulesetAttributes attributes;
  attributes.files = known_to(abi);
  if (scope) attributes.scoped = kScopeAbstractSocket | kScopeSignal;
  const std::size_t size = abi >= kLandlockScopeSince ? sizeof attributes : abi >= 4 ? 16 : 8;
  const int ruleset = static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, size, 0));
  if (ruleset < 0) return fail_errno("landlock_create_ruleset", errno);
  auto added = add_rules(ruleset, spec, private_root, attributes.files);
  if (added && ::syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
    added = fail_errno("landlock_restrict_self", errno);
  }
  ::close(ruleset);
  return added;
}

}  // namespace fused
