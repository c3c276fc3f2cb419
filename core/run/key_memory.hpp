// Keys of calls that came before, word for word: for a busy URL a look into a table instead of ten hashes. What decides
// a key is compared as it stands, so nothing here can give a call the key of another. One thread.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>

#include "cache/cache_key.hpp"
#include "cache/code_memory.hpp"
#include "run/run_request.hpp"

namespace fused {

class KeyMemory {
 public:
  static constexpr std::size_t kCallsMax = 4'096;        // beyond it all are forgotten
  static constexpr std::size_t kCallBytesMax = 4 << 10;  // a longer one is made each time

  struct Known {
    std::weak_ptr<const FunctionSource> function;
    SharedDescription code;
    CacheKey key;
  };
  // What decides the key of a call of exactly this function object; "" where that is not all in its URL (parameters as
  // JSON, code that sees who asks).
  static std::string text_of(const RunRequest& request, const Digest& environment);
  // Null for what was not put, and for a function object that is gone: another one may lie in its place.
  const Known* find(const std::string& text, const RunRequest& request) const;
  void put(std::string text, const RunRequest& request, SharedDescription code, const CacheKey& key);
  std::size_t size() const { return known_.size(); }

 private:
  std::unordered_map<std::string, Known> known_;
};

}  // namespace fused
