// Tables that the server knows by name: which URL, of which organisation, by whom. Kept in state.db.
//
// Reads: any thread, from memory. Writes: the state thread; on disk when they return.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "auth/actor.hpp"
#include "base/clock.hpp"
#include "base/result.hpp"
#include "storage/database.hpp"

namespace fused {

struct RegisteredTable {
  std::string id;
  std::string organisation;
  std::string name;
  std::string url;  // /mount/…, s3://…, or a folder of the server's machine
  std::string user_id;
  std::int64_t created_at = 0;  // seconds since 1970

  // "" or the folder outside /mount that must be open to the processes that read it.
  std::string outside_folder() const;
};

class TableRegistry {
 public:
  static constexpr std::size_t kOfOrganisationMax = 10'000;

  TableRegistry(Database& database, const Clock& clock) : database_(database), clock_(clock) {}
  Status start();

  // Puts in the place of one of the same name. invalid_argument for a name or URL that cannot be one; `id` and time
  // are filled in where there is no `id` (with one it is put back as it was).
  Result<RegisteredTable> add(RegisteredTable table);
  Status remove(std::string_view id);

  std::optional<RegisteredTable> find(std::string_view organisation, std::string_view name) const;
  std::optional<RegisteredTable> by_id(std::string_view id) const;
  std::vector<RegisteredTable> of_organisation(std::string_view organisation) const;  // by name
  std::vector<std::string> outside_folders() const;                                   // of all, each once

 private:
  Database& database_;
  const Clock& clock_;
  mutable std::shared_mutex mutex_;
  std::map<std::pair<std::string, std::string>, RegisteredTable, std::less<>> tables_;  // by organisation and name
};

// 1 to 64 letters, digits, '-', '_' and '.', beginning with a letter or digit.
Status check_table_name(std::string_view name);

// The URL as it is kept. Everybody may name what lies in /mount and s3://bucket/… without options; other folders of the
// machine, and S3 with options (another endpoint), an owner only. Folders outside /mount must exist, are named by their
// real path, and may not lie in `data`. Blocks for the disk.
Result<std::string> accept_table_url(std::string_view url, Role role, std::string_view data);

}  // namespace fused
