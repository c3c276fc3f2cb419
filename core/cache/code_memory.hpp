// What a worker said about a text, made once per distinct text and owner and kept over restarts (DIR/cache/code.log).
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/result.hpp"
#include "cache/cache_key.hpp"
#include "cache/canonical.hpp"

namespace fused {

struct CodeDescription {
  Digest tree;  // of what can run, without comments, layout and caching arguments
  Signature signature;
  bool sees_caller = false;                           // the text names `context`: who asks is part of the key
  std::optional<std::int64_t> cache_max_age_seconds;  // of the decorator
  std::optional<std::int64_t> stale_while_revalidate_seconds;
  std::optional<std::int64_t> cache_errors_seconds;  // how long a failure is answered again; none: not at all

  // From a worker's answer: {"tree": 64 digits, "parameters", "rest", "sees_caller", "cache_max_age",
  // "stale_while_revalidate", "cache_errors"}. internal for another form.
  static Result<CodeDescription> of_json(std::string_view text);
  std::string json() const;
};
using SharedDescription = std::shared_ptr<const CodeDescription>;

// One thread. `write` takes what is to be appended to the file, to be done by the writing thread.
class CodeMemory {
 public:
  static constexpr std::size_t kTextsMax = 100'000;

  // Reads what is there; damaged records are skipped. An unreadable file is an empty one.
  CodeMemory(std::filesystem::path file, std::function<void(std::string)> write);

  // By a digest of owner and text: an owner's worker can lie about his own texts only.
  SharedDescription find(const Digest& text) const;
  void put(const Digest& text, SharedDescription description);
  std::size_t size() const { return known_.size(); }

 private:
  std::filesystem::path file_;
  std::function<void(std::string)> write_;
  std::unordered_map<Digest, SharedDescription, DigestHash> known_;
};

}  // namespace fused
