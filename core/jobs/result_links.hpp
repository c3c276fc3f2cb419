// Addresses of a job's files that need no token: <job_id>.<expires>.<HMAC>. The key lies in DIR/job-link-key, so that a
// link outlives a restart.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "storage/data_folder.hpp"

namespace fused {

class ResultLinks {  // any thread
 public:
  static constexpr std::int64_t kLifeSeconds = 3'600;

  static Result<ResultLinks> open(const DataFolder& data);  // makes the key at the first start
  std::string make(std::string_view job_id, std::int64_t now) const;
  // The job whose files it opens; "" for one that is malformed, forged or too old.
  std::string job_of(std::string_view link, std::int64_t now) const;

 private:
  std::string mac(std::string_view text) const;
  std::array<unsigned char, 32> key_{};
};

}  // namespace fused
