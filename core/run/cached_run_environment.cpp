#include "run/cached_run_environment.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>

namespace fused {
namespace fs = std::filesystem;
namespace {

constexpr auto kLookEvery = std::chrono::seconds(2);

std::string stamp_of(const fs::path& path) {
  struct stat is{};
  if (::stat(path.c_str(), &is) != 0) return path.string() + " -\n";
  return path.string() + ' ' + std::to_string(is.st_ino) + ' ' + std::to_string(is.st_mtim.tv_sec) + '.' +
         std::to_string(is.st_mtim.tv_nsec) + '\n';
}

void add_site_packages(std::vector<fs::path>& folders, const fs::path& prefix) {
  std::error_code error;
  for (const char* below : {"lib", "local/lib"})
    for (const auto& entry : fs::directory_iterator(prefix / below, error)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with("python3")) continue;
      for (const char* site : {"site-packages", "dist-packages"})
        if (fs::is_directory(entry.path() / site, error)) folders.push_back(entry.path() / site);
    }
}

bool sees_the_base(const fs::path& prefix) {
  std::ifstream in(prefix / "pyvenv.cfg");
  if (!in) return true;
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("include-system-site-packages") && line.find("true") != std::string::npos) return true;
  return false;
}

}  // namespace

EnvironmentDigest::EnvironmentDigest(fs::path python, std::string version, fs::path package, const Clock& clock)
    : python_(std::move(python)), version_(std::move(version)), package_(std::move(package)), clock_(clock) {
  std::error_code error;
  const fs::path prefix = python_.parent_path().parent_path();
  add_site_packages(folders_, prefix);
  if (sees_the_base(prefix)) {
    const fs::path base = fs::canonical(python_, error).parent_path().parent_path();
    if (!error && base != prefix) add_site_packages(folders_, base);
  }
  std::ranges::sort(folders_);
  folders_.erase(std::unique(folders_.begin(), folders_.end()), folders_.end());
  stamps_ = stamps();
  digest_ = read();
  looked_ = clock_.steady();
}

std::string EnvironmentDigest::stamps() const {
  std::string all = stamp_of(python_) + stamp_of(package_ / "_version.py");
  for (const auto& folder : folders_) all += stamp_of(folder);
  return all;
}

// Names say the version (numpy-2.1.0.dist-info); times say that the same version was installed anew.
Digest EnvironmentDigest::read() const {
  std::error_code error;
  std::vector<std::string> found;
  for (const auto& folder : folders_)
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      const std::string name = entry.path().filename().string();
      if (name == "__pycache__") continue;
      const bool is_distribution = name.ends_with(".dist-info") || name.ends_with(".egg-info");
      found.push_back(is_distribution || !entry.is_directory(error) ? stamp_of(entry.path()) : entry.path().string());
    }
  std::ranges::sort(found);
  Hasher hasher;
  hasher.add("environment 1").add(version_).add(stamp_of(python_)).add(fs::canonical(python_, error).string());
  for (const char* own : {"_version.py", "_worker/encode.py", "_parameters.py"}) hasher.add(stamp_of(package_ / own));
  for (const auto& name : found) hasher.add(name);
  return hasher.finish();
}

const Digest& EnvironmentDigest::current() {
  const SteadyTime now = clock_.steady();
  if (now - looked_ < kLookEvery) return digest_;
  looked_ = now;
  std::string stamps = this->stamps();
  if (stamps == stamps_) return digest_;
  stamps_ = std::move(stamps);
  digest_ = read();
  return digest_;
}

}  // namespace fused
