#include "table/location.hpp"

#include <arrow/filesystem/localfs.h>
#include <arrow/io/file.h>
#include <arrow/util/key_value_metadata.h>
#include <dlfcn.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>

#include "result/frame.hpp"

namespace fused {
namespace {

// Arrow's S3 lies in a library of its own (17 MB), beside libarrow; it announces its scheme when it is loaded.
Status load_s3() {
  static std::mutex mutex;
  static bool loaded = false;
  const std::lock_guard lock(mutex);
  if (loaded) return {};
  Dl_info info{};
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast)
  if (dladdr(reinterpret_cast<const void*>(&arrow::default_memory_pool), &info) == 0 || info.dli_fname == nullptr)
    return fail(ErrorKind::internal, "cannot find the folder of the Arrow library");
  const std::filesystem::path arrow_library = info.dli_fname;
  const std::string name = "libarrow_s3" + arrow_library.filename().string().substr(std::strlen("libarrow"));
  if (const auto status = arrow::fs::LoadFileSystemFactories((arrow_library.parent_path() / name).c_str());
      !status.ok())
    return fail(ErrorKind::unavailable, "s3:// cannot be used here: " + status.message());
  loaded = true;
  return {};
}

std::string_view without_suffixes(std::string_view url) {
  const auto strip = [&url](std::string_view suffix) {
    if (url.size() > suffix.size() && url.ends_with(suffix)) url.remove_suffix(suffix.size());
  };
  while (url.size() > 1 && url.ends_with('/')) url.remove_suffix(1);
  strip("/_sample");
  strip("/_metadata");
  while (url.size() > 1 && url.ends_with('/')) url.remove_suffix(1);
  return url;
}

// One client an endpoint, whatever the bucket: connections are kept.
Result<std::pair<std::shared_ptr<arrow::fs::FileSystem>, std::string>> s3_files(const std::string& url) {
  FUSED_CHECK(load_s3());
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<arrow::fs::FileSystem>, std::less<>> clients;
  const auto options_at = url.find('?');
  std::string_view path = std::string_view(url).substr(0, options_at).substr(std::strlen("s3://"));
  const std::string_view bucket = path.substr(0, path.find('/'));  // with its user
  if (const auto at = bucket.rfind('@'); at != bucket.npos) path.remove_prefix(at + 1);
  const std::string key = std::string(bucket) + (options_at == url.npos ? std::string() : url.substr(options_at));
  const std::lock_guard lock(mutex);
  if (const auto known = clients.find(key); known != clients.end()) return std::pair(known->second, std::string(path));
  auto made = arrow::fs::FileSystemFromUri("s3://" + key);
  if (!made.ok())
    return fail(ErrorKind::unavailable, "cannot use 's3://" + std::string(path) + "': " + made.status().message());
  if (clients.size() >= 64) clients.clear();
  clients.emplace(key, *made);
  return std::pair(*made, std::string(path));
}

std::string local_version(const struct stat& seen) {
  return std::to_string(seen.st_mtim.tv_sec) + '.' + std::to_string(seen.st_mtim.tv_nsec) + '-' +
         std::to_string(seen.st_size) + '-' + std::to_string(seen.st_ino);
}

}  // namespace

Error from_files(const arrow::Status& status, std::string_view doing) {
  const std::string text = status.message();
  const auto says = [&](std::string_view what) { return text.find(what) != text.npos; };
  ErrorKind kind = ErrorKind::unavailable;
  if (says("No such file") || says("does not exist") || says("not found") || says("NOT_FOUND") || says("NO_SUCH") ||
      says("Not a directory") || says("HTTP status 404"))
    kind = ErrorKind::not_found;
  else if (says("Permission denied") || says("ACCESS_DENIED") || says("HTTP status 403"))
    kind = ErrorKind::forbidden;
  return {kind, std::string(doing) + ": " + text.substr(0, 400), {}};
}

Result<Location> locate(std::string_view url) {
  if (url.empty() || url.find('\0') != url.npos)
    return fail(ErrorKind::invalid_argument, "a table's URL is a folder, file://… or s3://bucket/…; this one is empty");
  Location location;
  if (url.starts_with("s3://")) {
    const auto options_at = url.find('?');
    const std::string options(options_at == url.npos ? std::string_view() : url.substr(options_at));
    location.url = std::string(without_suffixes(url.substr(0, options_at))) + options;
    auto [files, path] = FUSED_TRY(s3_files(location.url));
    location.shown = "s3://" + path;
    if (path.find('/') == path.npos)
      return fail(ErrorKind::invalid_argument, "'" + location.shown + "' names a bucket; a table is a folder in one");
    location.files = std::move(files);
    location.folder = std::move(path);
    location.local = false;
    return location;
  }
  std::string_view path = url;
  if (path.starts_with("file://")) path.remove_prefix(std::strlen("file://"));
  if (const auto scheme = path.find("://"); scheme != path.npos)
    return fail(ErrorKind::invalid_argument, "tables are read from folders, file:// and s3://, not from '" +
                                                 std::string(path.substr(0, scheme + 3)) + "'");
  location.url = without_suffixes(path);
  location.shown = location.url;
  std::error_code error;
  location.folder = std::filesystem::absolute(location.url, error).string();
  if (location.folder.size() > 1 && location.folder.ends_with('/')) location.folder.pop_back();
  static const auto disk = std::make_shared<arrow::fs::LocalFileSystem>();
  location.files = disk;
  return location;
}

Result<std::string> file_version(const Location& location, std::string_view name) {
  const std::string path = location.path(name);
  if (location.local) {
    struct stat seen{};
    if (::stat(path.c_str(), &seen) == 0) return local_version(seen);
    const int number = errno;
    const bool missing = number == ENOENT || number == ENOTDIR;
    return fail(missing            ? ErrorKind::not_found
                : number == EACCES ? ErrorKind::forbidden
                                   : ErrorKind::unavailable,
                "'" + path + "': " + std::strerror(number));
  }
  auto file = location.files->OpenInputFile(path);
  if (!file.ok()) return std::unexpected(from_files(file.status(), "'" + path + "'"));
  const auto size = (*file)->GetSize();
  const auto metadata = (*file)->ReadMetadata();
  std::string version = size.ok() ? std::to_string(*size) : "?";
  if (metadata.ok() && *metadata)
    for (const char* key : {"ETag", "Last-Modified"})
      if (const auto value = (*metadata)->Get(key); value.ok()) version += '-' + *value;
  return version;
}

Result<std::string> read_whole(const Location& location, std::string_view name, std::int64_t bytes_max) {
  const std::string path = location.path(name), doing = "cannot read '" + path + "'";
  auto file = location.files->OpenInputFile(path);
  if (!file.ok()) return std::unexpected(from_files(file.status(), doing));
  const auto size = (*file)->GetSize();
  if (!size.ok()) return std::unexpected(from_files(size.status(), doing));
  if (*size > bytes_max)
    return fail(ErrorKind::too_large,
                doing + ": it has " + std::to_string(*size) + " bytes and may have " + std::to_string(bytes_max));
  std::string bytes(static_cast<std::size_t>(*size), '\0');
  const auto read = (*file)->ReadAt(0, *size, bytes.data());
  if (!read.ok()) return std::unexpected(from_files(read.status(), doing));
  bytes.resize(static_cast<std::size_t>(*read));
  return bytes;
}

}  // namespace fused
