#include "ingest/resume.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "table/sample.hpp"

namespace fused::ingest {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const Options& options) { return fs::path(options.staging) / "done"; }

}  // namespace

Result<std::map<std::uint32_t, WriteJob::Done>> finished_files(const Options& options) {
  std::map<std::uint32_t, WriteJob::Done> files;
  if (!options.resume) return files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_of(options), error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with('.')) continue;  // one that was being written
    std::ifstream in(entry.path(), std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    auto chunks = parse_sample(text.str());
    if (!chunks) continue;  // torn: the file is made again
    const auto number = static_cast<std::uint32_t>(std::strtoul(name.c_str(), nullptr, 10));
    const auto file = fs::path(options.staging) / "table" / (file_id(options, number) + ".parquet");
    const auto bytes = fs::file_size(file, error);
    if (error) continue;
    files[number] = {std::move(*chunks), static_cast<std::int64_t>(bytes)};
  }
  return files;
}

Status remember_file(const Options& options, std::uint32_t file, const WriteJob::Done& done) {
  std::error_code error;
  fs::create_directory(folder_of(options), error);
  return folder_target(folder_of(options))->put(std::to_string(file), FUSED_TRY(sample_bytes(done.chunks)));
}

}  // namespace fused::ingest
