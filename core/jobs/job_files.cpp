#include "jobs/job_files.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cinttypes>
#include <cstdio>

#include "base/ids.hpp"
#include "jobs/job_config.hpp"
#include "jobs/usage_lines.hpp"
#include "storage/durable_write.hpp"
#include "storage/file_descriptor.hpp"

namespace fused {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kMappedBytesMin = 1 << 20;
constexpr std::size_t kFormatBytesMax = 16;

std::string hex(AttemptId id) {
  char text[20];
  std::snprintf(text, sizeof text, "%" PRIx64, static_cast<std::uint64_t>(id));
  return text;
}

std::string in_jobs(std::string_view job_id, std::string_view rest) {
  return "jobs/" + std::string(job_id) + (rest.empty() ? "" : "/") + std::string(rest);
}

std::string extension_of(std::string_view format) {
  const bool good = !format.empty() && format.size() <= kFormatBytesMax && std::ranges::all_of(format, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  });
  return good ? std::string(format) : std::string("bin");
}

constexpr std::string_view kAside = ".swept-";
constexpr auto kTellPause = std::chrono::seconds(10);

Status failed(std::string_view what, const fs::path& path, const std::error_code& error) {
  if (!error || error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory) return {};
  return fail_errno(std::string(what) + ' ' + path.string(), error.value());
}

Status remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return failed("removing", path, error);
}

Status remove_file(const fs::path& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return {};
  return fail_errno("removing " + path.string(), errno);
}

// "" where there is no such file.
Result<std::string> text_of(const fs::path& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && errno == ENOENT) return std::string();
  if (!file) return fail_errno("reading " + path.string(), errno);
  std::string text;
  for (char piece[65'536];;) {
    const ssize_t n = ::read(file.get(), piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("reading " + path.string(), errno);
    if (n == 0) return text;
    text.append(piece, static_cast<std::size_t>(n));
  }
}

// Gives the size afterwards.
Result<std::int64_t> put(const fs::path& path, std::string_view text, int how) {
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | how, 0600));
  if (!file) return fail_errno("writing " + path.string(), errno);
  while (!text.empty()) {
    const ssize_t n = ::write(file.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("writing " + path.string(), errno);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  struct stat about{};
  if (::fstat(file.get(), &about) != 0) return fail_errno("fstat of " + path.string(), errno);
  return about.st_size;
}

// A reader and a kill see the old text or the new one.
Status replace(const fs::path& path, std::string_view text) {
  const fs::path aside = path.parent_path() / (std::string(kTemporaryPrefix) + path.filename().string());
  FUSED_CHECK(put(aside, text, O_TRUNC));
  if (::rename(aside.c_str(), path.c_str()) != 0) return fail_errno("renaming to " + path.string(), errno);
  return {};
}

// Names in a folder; none where it is not there.
Result<std::vector<std::string>> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error); !error && at != fs::directory_iterator(); at.increment(error))
    names.push_back(at->path().filename().string());
  FUSED_CHECK(failed("listing", folder, error));
  return names;
}

struct Mapping {
  void* at;
  std::size_t size;
  ~Mapping() { ::munmap(at, size); }
};

}  // namespace

std::string JobFiles::config_path(std::string_view organisation, std::string_view job_id, WallTime submitted) {
  return "s3/fused-users/" + std::string(organisation) + "/fused-system/job-configs/" + format_utc_date(submitted) +
         '/' + std::string(job_id) + "/file.json";
}

Status JobFiles::write_config(const std::string& path, std::string_view text) const {
  const std::size_t slash = path.rfind('/');
  const FileDescriptor folder = FUSED_TRY(data_.files().make_folders(data_.gate(), path.substr(0, slash)));
  return durable_write(data_.gate(), folder.get(), path.substr(slash + 1), text);
}

Result<std::string> JobFiles::read_config(const std::string& path) const {
  return data_.files().read(path, kJobConfigBytesMax + (1 << 20));
}

Status JobFiles::make_folder(const std::string& job_id) const {
  FUSED_CHECK(data_.files().make_folders(data_.gate(), in_jobs(job_id, "results")));
  // Not synced: a power cut ends the processes too.
  const fs::path processes = folder(job_id) / "processes";
  if (::mkdir(processes.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("mkdir " + processes.string(), errno);
  return {};
}

Result<std::string> JobFiles::write_result(const std::string& job_id, std::int64_t task, AttemptId attempt,
                                           std::string_view format, std::string_view bytes,
                                           std::string_view metadata) const {
  const FileDescriptor folder = FUSED_TRY(data_.files().make_folders(data_.gate(), in_jobs(job_id, "results")));
  std::string name = std::to_string(task) + '.' + hex(attempt) + '.' + extension_of(format);
  FUSED_CHECK(durable_write(data_.gate(), folder.get(), name + ".metadata", metadata));
  FUSED_CHECK(durable_write(data_.gate(), folder.get(), name, bytes));
  return name;
}

Status JobFiles::remove_result(const std::string& job_id, const std::string& name) const {
  const Status bytes = remove_file(folder(job_id) / "results" / name);
  FUSED_CHECK(remove_file(folder(job_id) / "results" / (name + ".metadata")));
  return bytes;
}

Result<Bytes> JobFiles::read_result(const std::string& job_id, const std::string& name) const {
  const FileDescriptor file = FUSED_TRY(data_.files().open_file(in_jobs(job_id, "results/" + name), O_RDONLY));
  struct stat about{};
  if (::fstat(file.get(), &about) != 0) return fail_errno("fstat of a result", errno);
  const auto size = static_cast<std::size_t>(about.st_size);
  if (size < kMappedBytesMin)
    return Bytes::of(FUSED_TRY(data_.files().read(in_jobs(job_id, "results/" + name), kMappedBytesMin)));
  void* at = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (at == MAP_FAILED) return fail_errno("mmap of a result", errno);
  auto mapping = std::make_shared<Mapping>(at, size);
  return Bytes{mapping, {static_cast<const char*>(at), size}};
}

void JobFiles::tell(const std::string& job_id, const Status& done) const {
  if (done) return;
  const std::lock_guard lock(telling_);
  const auto now = std::chrono::steady_clock::now();
  if (now < tell_at_) {
    ++untold_;
    return;
  }
  tell_at_ = now + kTellPause;
  const std::string more = untold_ > 0 ? " (and " + std::to_string(std::exchange(untold_, 0)) + " before it)" : "";
  spdlog::warn("job {}: {}{}", job_id, done.error().message, more);
}

Status JobFiles::note_process(const std::string& job_id, AttemptId attempt, pid_t pid, std::uint64_t started) const {
  FUSED_CHECK(
      put(folder(job_id) / "processes" / hex(attempt), std::to_string(pid) + ' ' + std::to_string(started), O_TRUNC));
  return {};
}

Status JobFiles::forget_process(const std::string& job_id, AttemptId attempt) const {
  return remove_file(folder(job_id) / "processes" / hex(attempt));
}

Result<std::optional<JobFiles::Process>> JobFiles::process(const std::string& job_id, AttemptId attempt) const {
  const std::string text = FUSED_TRY(text_of(folder(job_id) / "processes" / hex(attempt)));
  Process found;
  const char* const end = text.data() + text.size();
  const auto [space, error] = std::from_chars(text.data(), end, found.pid);
  if (error != std::errc{} || space == end) return std::nullopt;  // also one that a kill has cut
  if (std::from_chars(space + 1, end, found.started).ec != std::errc{}) return std::nullopt;
  return found;
}

Status JobFiles::append_usage(const std::string& job_id, std::string_view lines) const {
  const fs::path file = folder(job_id) / "usage.jsonl";
  if (FUSED_TRY(put(file, lines, O_APPEND)) <= kUsageBytesMax) return {};
  return replace(file, thinned_usage(FUSED_TRY(text_of(file)), kUsageBytesMax / 4 * 3));
}

Result<std::string> JobFiles::usage(const std::string& job_id) const { return text_of(folder(job_id) / "usage.jsonl"); }

Result<std::int64_t> JobFiles::add_progress(const std::string& job_id, std::int64_t amount) const {
  const fs::path file = folder(job_id) / "progress";
  std::int64_t so_far = 0;
  const std::string text = FUSED_TRY(text_of(file));
  std::from_chars(text.data(), text.data() + text.size(), so_far);
  if (amount == 0) return so_far;
  so_far = std::max<std::int64_t>(0, so_far + amount);
  FUSED_CHECK(replace(file, std::to_string(so_far)));
  return so_far;
}

Status JobFiles::remove(const std::string& job_id, const std::string& config_path) const {
  const Status config = config_path.empty() ? Status() : remove_tree((data_.path() / config_path).parent_path());
  FUSED_CHECK(remove_tree(folder(job_id)));
  return config;
}

Result<JobFiles::Found> JobFiles::folders() const {
  Found found;
  for (std::string& name : FUSED_TRY(names_in(data_.path() / "jobs"))) {
    if (is_uuid(name))
      found.jobs.push_back(std::move(name));
    else if (name.starts_with(kAside) && is_uuid(std::string_view(name).substr(kAside.size())))
      found.aside.push_back(std::move(name));
  }
  const fs::path users = data_.path() / "s3/fused-users";
  for (const std::string& organisation : FUSED_TRY(names_in(users))) {
    const fs::path configs = users / organisation / "fused-system/job-configs";
    for (const std::string& day : FUSED_TRY(names_in(configs))) found.days.push_back(configs / day);
  }
  return found;
}

Result<std::string> JobFiles::put_aside(const std::string& job_id, const std::vector<std::string>& days,
                                        std::int64_t since) const {
  struct stat about{};
  if (::stat(folder(job_id).c_str(), &about) != 0) return fail_errno("stat of " + folder(job_id).string(), errno);
  if (about.st_mtime < since) return std::string();
  for (const std::string& day : days) {
    const fs::path config = fs::path(day) / job_id;
    FUSED_CHECK(remove_file(config / "file.json"));
    ::rmdir(config.c_str());  // stays where it holds what is not ours
  }
  std::string name = std::string(kAside) + job_id;
  if (::rename(folder(job_id).c_str(), folder(name).c_str()) != 0)
    return fail_errno("renaming " + folder(job_id).string(), errno);
  return name;
}

Status JobFiles::remove_aside(const std::string& name) const { return remove_tree(folder(name)); }

fs::path JobFiles::shared_root() const {
  const fs::path data = fs::absolute(data_.path());
  return sharing_ == Sharing::here ? data / "job-data" : data / "mount/fused-system/job-data";
}

Result<fs::path> JobFiles::make_shared(const std::string& job_id) const {
  if (sharing_ == Sharing::none) return fs::path();
  fs::path made = shared_root() / job_id;
  std::error_code error;
  fs::create_directories(made, error);
  if (error) return fail_errno("the folder " + made.string() + " of the job", error.value());
  return made;
}

Status JobFiles::remove_shared(const std::string& job_id) const {
  if (sharing_ == Sharing::none || job_id.empty()) return {};
  const fs::path folder = shared_root() / job_id;
  if (remove_tree(folder)) return {};
  // A task may have closed a folder to itself, and so to us.
  std::error_code error;
  fs::recursive_directory_iterator at(folder, fs::directory_options::skip_permission_denied, error);
  std::vector<fs::path> closed{folder};
  for (; at != fs::recursive_directory_iterator(); at.increment(error))
    if (at->is_directory(error) && !at->is_symlink(error)) closed.push_back(at->path());
  for (const fs::path& each : closed) fs::permissions(each, fs::perms::owner_all, fs::perm_options::add, error);
  return remove_tree(folder);
}

Result<std::vector<std::string>> JobFiles::jobs_with_shared() const {
  if (sharing_ == Sharing::none) return std::vector<std::string>();
  std::vector<std::string> ids = FUSED_TRY(names_in(shared_root()));
  std::erase_if(ids, [](const std::string& name) { return !is_uuid(name); });
  return ids;
}

std::string shown_result_name(std::string_view name) {
  const std::size_t first = name.find('.');
  const std::size_t second = name.find('.', first == std::string_view::npos ? name.size() : first + 1);
  if (second == std::string_view::npos) return std::string(name);
  return std::string(name.substr(0, first)) + std::string(name.substr(second));
}

}  // namespace fused
