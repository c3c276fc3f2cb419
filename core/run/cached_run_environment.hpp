// The interpreter and the packages that functions run with, as one digest; looked at again every few seconds, so that
// an installed or removed package makes every result a miss. One thread.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "cache/cache_key.hpp"

namespace fused {

class EnvironmentDigest {
 public:
  // `python`: the workers' interpreter. `version`: of this server. `package`: the folder of its own Python package.
  EnvironmentDigest(std::filesystem::path python, std::string version, std::filesystem::path package,
                    const Clock& clock);
  const Digest& current();

 private:
  std::string stamps() const;
  Digest read() const;

  std::filesystem::path python_;
  std::string version_;
  std::filesystem::path package_;
  const Clock& clock_;
  std::vector<std::filesystem::path> folders_;  // site-packages
  std::string stamps_;                          // of the folders, when they were read
  SteadyTime looked_{};
  Digest digest_;
};

}  // namespace fused
