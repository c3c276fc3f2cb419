#include "sandbox/private_root.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace fused {
namespace {

namespace fs = std::filesystem;

constexpr int kPidMaxPerNamespaceSince = 6014;  // kernel.pid_max was one for the whole host before Linux 6.14
constexpr int kPidMaxLeast = 301;               // the kernel's own lower bound

struct Bind {
  fs::path source;
  fs::path target;
  unsigned long long flags = 0;  // MOUNT_ATTR_…
  int tree = -1;                 // open_tree's descriptor
  bool folder = true;
};

constexpr unsigned long long kReadOnly = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
constexpr unsigned long long kWritable = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

std::unexpected<Error> failed(const char* call, const fs::path& path) {
  return fail_errno(std::string(call) + " " + path.string(), errno);
}

bool within(const fs::path& inner, const fs::path& outer) {
  const auto [at, end] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  return at == outer.end();
}

// The new root stands in the working directory while it is built.
fs::path here(const fs::path& absolute) { return absolute.relative_path(); }

Status make_folder(const fs::path& absolute) {
  if (!absolute.has_relative_path()) return {};
  std::error_code error;
  fs::create_directories(here(absolute), error);
  if (error) return fail_errno("mkdir " + absolute.string() + " in the private root", error.value());
  return {};
}

Status make_target(const Bind& bind) {
  if (bind.folder) return make_folder(bind.target);
  FUSED_CHECK(make_folder(bind.target.parent_path()));
  const int file = ::open(here(bind.target).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0444);
  if (file < 0 && errno != EROFS) return failed("create", bind.target);
  if (file >= 0) ::close(file);
  return {};
}

// Holds the source before the new root hides it.
Status take(Bind& bind) {
  bind.tree = ::open_tree(AT_FDCWD, bind.source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (bind.tree < 0) return failed("open_tree", bind.source);
  struct stat about{};
  if (::fstat(bind.tree, &about) != 0) return failed("fstat", bind.source);
  bind.folder = S_ISDIR(about.st_mode);
  struct mount_attr attributes{};
  attributes.attr_set = bind.flags;
  if (::mount_setattr(bind.tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) != 0) {
    return failed("mount_setattr", bind.source);
  }
  return {};
}

Status place(Bind& bind) {
  FUSED_CHECK(make_target(bind));
  if (::move_mount(bind.tree, "", AT_FDCWD, here(bind.target).c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return failed("move_mount to", bind.target);
  }
  ::close(bind.tree);
  bind.tree = -1;
  return {};
}

Status mount_tmpfs(const fs::path& target, const std::string& options) {
  if (::mount("tmpfs", target.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0) {
    return failed("mount tmpfs on", target);
  }
  return {};
}

Status read_only(const fs::path& target) {
  struct mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (::mount_setattr(AT_FDCWD, target.c_str(), 0, &attributes, sizeof attributes) != 0) {
    return failed("mount_setattr read-only", target);
  }
  return {};
}

Status swap_root() {
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return fail_errno("pivot_root", errno);
  if (::umount2(".", MNT_DETACH) != 0) return fail_errno("umount of the old root", errno);
  if (::chdir("/") != 0) return fail_errno("chdir /", errno);
  return {};
}

// Best effort: a smaller bound than the watch's, which counts anyway.
void write_number(const char* path, long long number) {
  const int file = ::open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  const auto text = std::to_string(number);
  if (::write(file, text.data(), text.size()) < 0) errno = 0;
  ::close(file);
}

Status mount_proc(const SandboxSpec& spec, int kernel) {
  FUSED_CHECK(make_folder("/proc"));
  if (::mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
    return fail_errno("mount of a fresh /proc", errno);
  }
  if (kernel >= kPidMaxPerNamespaceSince) {
    write_number("proc/sys/kernel/pid_max", std::max<long long>(spec.limits.processes + 2, kPidMaxLeast));
  }
  write_number("proc/sys/kernel/shmall", spec.limits.memory_bytes / 4096);
  return read_only("proc");  // uid 0 may write sysctls by owning them, without any capability
}

// A link to what is there anyway stays a link; anything else is bound.
Status add_system(const fs::path& path, std::vector<Bind>& binds, std::vector<fs::path>& links) {
  std::error_code error;
  if (fs::is_symlink(path, error)) {
    const auto target = fs::read_symlink(path, error);
    if (!error && (target.is_relative() || within(target, "/usr")) && path.parent_path() != "/etc/ssl") {
      const auto real = fs::weakly_canonical(path, error);
      if (!error && within(real, "/usr")) {
        links.push_back(path);
        return {};
      }
    }
  }
  binds.push_back({path, path, kReadOnly});
  return {};
}

Status add_python(const SandboxSpec& spec, std::vector<Bind>& binds) {
  std::vector<fs::path> wanted;
  for (const auto& path : spec.python_paths) {
    std::error_code error;
    if (!fs::exists(path, error)) continue;  // sys.path names archives that are not there
    wanted.push_back(path.lexically_normal());
    const auto real = fs::canonical(path, error);
    if (!error) wanted.push_back(real);
  }
  for (auto& path : wanted) {
    if (!path.has_filename()) path = path.parent_path();
    if (path == "/" || path == spec.data) {
      return fail(ErrorKind::invalid_argument,
                  "python_paths: '" + path.string() + "' would show all of it to functions; name the environment only");
    }
  }
  std::sort(wanted.begin(), wanted.end(),
            [](const fs::path& a, const fs::path& b) { return a.native().size() < b.native().size(); });
  for (const auto& path : wanted) {
    const bool in_data = within(path, spec.data);
    const bool there = std::any_of(binds.begin(), binds.end(), [&](const Bind& bind) {
      return within(path, bind.target) && within(path, bind.source) && in_data == within(bind.target, spec.data);
    });
    if (!there) binds.push_back({path, path, kReadOnly});
  }
  return {};
}

// /mount, where the server's own records can be read and not written. /mount/fused-system is a mount point of its own,
// so that it cannot be moved aside either.
Status add_mount(const SandboxSpec& spec, std::vector<Bind>& binds) {
  std::error_code error;
  const auto system = spec.mount / "fused-system";
  fs::create_directories(system / "logs", error);
  if (error) return fail_errno("mkdir " + (system / "logs").string(), error.value());
  binds.push_back({spec.mount, "/mount", kWritable});
  binds.push_back({system, "/mount/fused-system", kWritable});
  binds.push_back({system / "logs", "/mount/fused-system/logs", kReadOnly});
  return {};
}

std::string memory_options(const RunLimits& limits) {
  return "mode=1777,size=" + std::to_string(limits.memory_bytes) +
         ",nr_inodes=" + std::to_string(limits.files_made + 1);
}

Status place_devices(std::vector<Bind>& devices, const SandboxSpec& spec) {
  for (auto& device : devices) FUSED_CHECK(place(device));
  FUSED_CHECK(make_folder("/dev/shm"));
  FUSED_CHECK(mount_tmpfs("dev/shm", memory_options(spec.limits)));
  constexpr std::pair<const char*, const char*> kLinks[] = {{"/proc/self/fd", "dev/fd"},
                                                            {"/proc/self/fd/0", "dev/stdin"},
                                                            {"/proc/self/fd/1", "dev/stdout"},
                                                            {"/proc/self/fd/2", "dev/stderr"}};
  for (const auto& [target, link] : kLinks)
    if (::symlink(target, link) != 0) return failed("symlink", link);
  return {};
}

Status place_links(const std::vector<fs::path>& links) {
  for (const auto& link : links) {
    FUSED_CHECK(make_folder(link.parent_path()));
    std::error_code error;
    const auto target = fs::read_symlink(link, error);
    if (error || (::symlink(target.c_str(), here(link).c_str()) != 0 && errno != EEXIST)) {
      return failed("symlink", link);
    }
  }
  return {};
}

Status take_all(std::vector<Bind>& binds) {
  for (auto& bind : binds) FUSED_CHECK(take(bind));
  return {};
}

}  // namespace

std::vector<fs::path> system_paths() {
  // /etc by name: as root a function could read /etc/shadow by owning it.
  static constexpr const char* kPaths[] = {"/usr",
                                           "/bin",
                                           "/sbin",
                                           "/lib",
                                           "/lib32",
                                           "/lib64",
                                           "/libx32",
                                           "/nix/store",
                                           "/gnu/store",
                                           "/sys/devices/system",
                                           "/etc/alternatives",
                                           "/etc/ca-certificates",
                                           "/etc/crypto-policies",
                                           "/etc/fonts",
                                           "/etc/gai.conf",
                                           "/etc/group",
                                           "/etc/host.conf",
                                           "/etc/hosts",
                                           "/etc/ld.so.cache",
                                           "/etc/ld.so.conf",
                                           "/etc/ld.so.conf.d",
                                           "/etc/localtime",
                                           "/etc/magic",
                                           "/etc/mime.types",
                                           "/etc/nsswitch.conf",
                                           "/etc/passwd",
                                           "/etc/pki/ca-trust",
                                           "/etc/pki/tls/certs",
                                           "/etc/protocols",
                                           "/etc/resolv.conf",
                                           "/etc/services",
                                           "/etc/ssl/certs",
                                           "/etc/ssl/openssl.cnf",
                                           "/etc/timezone"};
  std::vector<fs::path> found;
  for (const char* path : kPaths) {
    struct stat about{};
    if (::stat(path, &about) == 0) found.emplace_back(path);
  }
  return found;
}

fs::path job_folder_inside(const SandboxSpec& spec) {
  const fs::path wanted(kJobFolder);
  const auto is_there = [&](const fs::path& path) { return within(path, wanted); };
  const bool taken = is_there(spec.data) || is_there(spec.scratch) || std::ranges::any_of(spec.python_paths, is_there);
  return taken ? spec.job : wanted;
}

Status enter_private_root(const SandboxSpec& spec, bool pid_namespace, int kernel) {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return fail_errno("make / private", errno);
  std::vector<Bind> system;
  std::vector<fs::path> links;
  for (const auto& path : system_paths()) FUSED_CHECK(add_system(path, system, links));
  FUSED_CHECK(add_python(spec, system));
  if (!pid_namespace) system.push_back({"/proc", "/proc", kReadOnly});
  std::vector<Bind> devices;
  for (const auto name : kDevices) {
    const auto path = fs::path("/dev") / name;
    devices.push_back({path, path, MOUNT_ATTR_NOSUID});
  }
  std::vector<Bind> own;
  FUSED_CHECK(add_mount(spec, own));
  // No folder can be bound both to /tmp and beneath it, and what lies beneath it must not be hidden by scratch.
  const bool memory_tmp =
      within(spec.scratch, "/tmp") ||
      std::any_of(system.begin(), system.end(), [](const Bind& bind) { return within(bind.target, "/tmp"); });
  if (!memory_tmp) own.push_back({spec.scratch, "/tmp", kWritable});
  own.push_back({spec.scratch, spec.scratch, kWritable});
  if (!spec.job.empty()) own.push_back({spec.job, job_folder_inside(spec), kWritable});
  FUSED_CHECK(take_all(system));
  FUSED_CHECK(take_all(devices));
  FUSED_CHECK(take_all(own));

  FUSED_CHECK(mount_tmpfs(spec.scratch, "mode=0755,size=4m,nr_inodes=4096"));
  if (::chdir(spec.scratch.c_str()) != 0) return failed("chdir", spec.scratch);
  FUSED_CHECK(place_links(links));
  if (memory_tmp) {
    FUSED_CHECK(make_folder("/tmp"));
    FUSED_CHECK(mount_tmpfs("tmp", memory_options(spec.limits)));
  }
  const auto inside = std::stable_partition(system.begin(), system.end(),
                                            [&](const Bind& bind) { return !within(bind.target, spec.data); });
  for (auto bind = system.begin(); bind != inside; ++bind) FUSED_CHECK(place(*bind));
  if (std::any_of(system.begin(), inside, [&](const Bind& bind) { return within(spec.data, bind.target); })) {
    // DIR lies in what was just shown: cover it.
    FUSED_CHECK(mount_tmpfs(here(spec.data), "mode=0755,size=1m,nr_inodes=1024"));
  }
  for (auto bind = inside; bind != system.end(); ++bind) FUSED_CHECK(place(*bind));
  FUSED_CHECK(place_devices(devices, spec));
  if (pid_namespace) FUSED_CHECK(mount_proc(spec, kernel));
  for (auto& bind : own) FUSED_CHECK(place(bind));
  FUSED_CHECK(make_folder("/var"));
  if (::symlink("/tmp", "var/tmp") != 0 && errno != EEXIST) return failed("symlink", "/var/tmp");
  FUSED_CHECK(swap_root());
  FUSED_CHECK(read_only("/"));
  if (::chdir(spec.scratch.c_str()) != 0) return failed("chdir", spec.scratch);
  return {};
}

Status try_private_root(bool pid_namespace) {
  char folder[] = "/tmp/fused-probe-XXXXXX";
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return fail_errno("make / private", errno);
  if (::mkdtemp(folder) == nullptr) return failed("mkdtemp", folder);
  const int old = ::open(folder, O_PATH | O_CLOEXEC);
  const auto tried = [&]() -> Status {
    Bind usr{"/usr", "/usr", kReadOnly};
    FUSED_CHECK(take(usr));
    FUSED_CHECK(mount_tmpfs(folder, "mode=0755,size=1m"));
    if (::chdir(folder) != 0) return failed("chdir", folder);
    FUSED_CHECK(place(usr));
    if (pid_namespace) FUSED_CHECK(mount_proc({}, 0));
    return {};
  }();
  if (::chdir("/") == 0 && old >= 0) {
    ::umount2(folder, MNT_DETACH);
    ::rmdir(folder);
    ::close(old);
  }
  if (!tried) return tried;
  return {};
}

}  // namespace fused
