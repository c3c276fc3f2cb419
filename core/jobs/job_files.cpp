#include "jobs/job_files.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "jobs/job_config.hpp"
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

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void put(const fs::path& file, std::string_view text, std::ios::openmode mode) {
  std::ofstream(file, std::ios::binary | mode).write(text.data(), static_cast<std::streamsize>(text.size()));
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
  std::error_code ignored;
  fs::create_directory(folder(job_id) / "processes", ignored);
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

void JobFiles::remove_result(const std::string& job_id, const std::string& name) const {
  std::error_code ignored;
  for (const char* suffix : {"", ".metadata"}) fs::remove(folder(job_id) / "results" / (name + suffix), ignored);
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

void JobFiles::note_process(const std::string& job_id, AttemptId attempt, pid_t pid, std::uint64_t started) const {
  put(folder(job_id) / "processes" / hex(attempt), std::to_string(pid) + ' ' + std::to_string(started),
      std::ios::trunc);
}

void JobFiles::forget_process(const std::string& job_id, AttemptId attempt) const {
  std::error_code ignored;
  fs::remove(folder(job_id) / "processes" / hex(attempt), ignored);
}

std::optional<JobFiles::Process> JobFiles::process(const std::string& job_id, AttemptId attempt) const {
  std::ifstream in(folder(job_id) / "processes" / hex(attempt));
  Process found;
  if (!(in >> found.pid >> found.started)) return std::nullopt;
  return found;
}

void JobFiles::append_usage(const std::string& job_id, std::string_view lines) const {
  put(folder(job_id) / "usage.jsonl", lines, std::ios::app);
}

std::string JobFiles::usage(const std::string& job_id) const { return text_of(folder(job_id) / "usage.jsonl"); }

std::int64_t JobFiles::add_progress(const std::string& job_id, std::int64_t amount) const {
  const fs::path file = folder(job_id) / "progress";
  std::int64_t so_far = 0;
  const std::string text = text_of(file);
  std::from_chars(text.data(), text.data() + text.size(), so_far);
  if (amount == 0) return so_far;
  so_far = std::max<std::int64_t>(0, so_far + amount);
  // Renamed, so that a reader and a kill see the old number or the new one.
  const fs::path aside = folder(job_id) / ".writing-progress";
  put(aside, std::to_string(so_far), std::ios::trunc);
  std::error_code ignored;
  fs::rename(aside, file, ignored);
  return so_far;
}

void JobFiles::remove(const std::string& job_id, const std::string& config_path) const {
  std::error_code ignored;
  fs::remove_all(folder(job_id), ignored);
  if (!config_path.empty()) fs::remove_all((data_.path() / config_path).parent_path(), ignored);
}

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

void JobFiles::remove_shared(const std::string& job_id) const {
  if (sharing_ == Sharing::none || job_id.empty()) return;
  const fs::path folder = shared_root() / job_id;
  std::error_code error;
  fs::remove_all(folder, error);
  if (!error) return;
  // A task may have closed a folder to itself, and so to us.
  fs::recursive_directory_iterator at(folder, fs::directory_options::skip_permission_denied, error);
  std::vector<fs::path> closed{folder};
  for (; at != fs::recursive_directory_iterator(); at.increment(error))
    if (at->is_directory(error) && !at->is_symlink(error)) closed.push_back(at->path());
  for (const fs::path& each : closed) fs::permissions(each, fs::perms::owner_all, fs::perm_options::add, error);
  fs::remove_all(folder, error);
}

std::vector<std::string> JobFiles::jobs_with_shared() const {
  std::vector<std::string> ids;
  if (sharing_ == Sharing::none) return ids;
  std::error_code error;
  for (fs::directory_iterator at(shared_root(), error); !error && at != fs::directory_iterator(); at.increment(error))
    ids.push_back(at->path().filename().string());
  return ids;
}

std::string shown_result_name(std::string_view name) {
  const std::size_t first = name.find('.');
  const std::size_t second = name.find('.', first == std::string_view::npos ? name.size() : first + 1);
  if (second == std::string_view::npos) return std::string(name);
  return std::string(name.substr(0, first)) + std::string(name.substr(second));
}

}  // namespace fused
