// The keys under which functions keep their own results (`@fused.cache`): one for each organisation and owner of code.
// HMAC-SHA-256(DIR/cache-key, organisation and owner), sent with each run, so that no file which functions can read
// holds one: an entry that another owner's function made, copied or changed does not pass. A lost cache-key makes all
// entries misses, nothing else.
#pragma once
#include <array>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "storage/data_folder.hpp"

namespace fused {

class CacheSecrets {  // any thread
 public:
  static Result<CacheSecrets> open(const DataFolder& data);  // makes the key at the first start, and when it is damaged
  std::string of(std::string_view organisation, std::string_view owner_id) const;  // 64 hex digits

 private:
  std::array<unsigned char, 32> key_{};
};

}  // namespace fused
