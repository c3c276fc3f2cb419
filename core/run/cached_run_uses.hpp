// What a run's result depends on beside its request: saved functions that it loaded or ran, files that it said it read.
#pragma once
#include <boost/json/object.hpp>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "cache/entry.hpp"
#include "run/run_service.hpp"

namespace fused {

struct RunUses {
  std::vector<FunctionUse> functions;
  std::vector<FileUse> files;
  std::string not_stored;  // why the result holds for its caller alone; "" where it does not

  void add(const RunUses& other);  // of a run that it started
  void add(FunctionUse use);
  void add(FileUse use);

 private:
  std::unordered_map<std::string, std::size_t> files_by_path_;
};

inline constexpr std::size_t kUsedFunctionsMax = 512;
inline constexpr std::size_t kUsedFilesMax = 4'096;  // beyond it a result is not stored, which its reply says

// The member "uses" of a worker's result (worker/uses.py). What is malformed makes the result one that is not stored.
RunUses uses_of_result(const boost::json::object& header);

// For the log: [{"path","size","mtime_ns"}, …]; "" where there are none. What does not fit into kLoggedFilesBytesMax is
// counted in a last {"left_out": 17}.
std::string files_json(const RunUses& uses);
// For the log: [{"id","revision"}, …] of the saved functions that it loaded or ran; "" where there are none.
std::string functions_json(const RunUses& uses);

// What a reply to a running function's own request shows that it uses: the record of a saved function.
std::optional<FunctionUse> use_of_reply(const std::string& method, const std::string& target, const NestedReply& reply);

class UseCheck {
 public:
  // `mount`: DIR/mount. `revision_of`: of a saved function by its id; nothing where it is gone.
  UseCheck(std::filesystem::path mount, std::function<std::optional<std::string>(const std::string&)> revision_of)
      : mount_(std::move(mount)), revision_of_(std::move(revision_of)) {}

  // What has changed, for people: "function 'x'", "file '/mount/a'"; "" where nothing has.
  std::string changed(const std::vector<FunctionUse>& functions) const;  // the server's thread
  std::string changed(const std::vector<FileUse>& files) const;          // any thread

 private:
  std::optional<std::filesystem::path> real_path(const std::string& path) const;

  std::filesystem::path mount_;
  std::function<std::optional<std::string>(const std::string&)> revision_of_;
};

}  // namespace fused
