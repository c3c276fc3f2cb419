#include "tiles/table_registry.hpp"

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <set>

#include "base/ids.hpp"
#include "storage/path_resolver.hpp"

namespace fused {
namespace {

constexpr std::size_t kUrlBytesMax = 2'000;
constexpr std::string_view kMount = "/mount/";

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

}  // namespace

std::string RegisteredTable::outside_folder() const {
  return url.starts_with('/') && !url.starts_with(kMount) ? url : "";
}

Status check_table_name(std::string_view name) {
  const bool good =
      !name.empty() && name.size() <= 64 && is_letter_or_digit(name[0]) &&
      std::ranges::all_of(name, [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.'; });
  if (good) return {};
  return fail(ErrorKind::invalid_argument, "a table's name has 1 to 64 letters, digits, '-', '_' and '.', and begins " +
                                               ("with a letter or digit; this is '" + shown(name)) + "'");
}

Result<std::string> accept_table_url(std::string_view given, Role role, std::string_view data) {
  if (given.empty() || given.size() > kUrlBytesMax)
    return fail(ErrorKind::invalid_argument,
                "'url' names the table's folder: /mount/…, s3://bucket/… or, for an owner, "
                "a folder of the server's machine");
  if (given.starts_with("s3://")) {
    if (given.find('?') != given.npos && role != Role::owner)
      return fail(ErrorKind::forbidden, "options of an s3:// URL are for owners: the server signs for what they name");
    return std::string(given);
  }
  if (given.starts_with("file://")) given.remove_prefix(7);
  while (given.size() > 1 && given.ends_with('/')) given.remove_suffix(1);
  if (given.starts_with(kMount)) {
    FUSED_CHECK(check_relative_path(given.substr(kMount.size())));
    return std::string(given);
  }
  if (!given.starts_with('/'))
    return fail(ErrorKind::invalid_argument,
                "'" + shown(given) + "' is no absolute path, /mount/… or s3://…; the server does not know your folder");
  if (role != Role::owner)
    return fail(ErrorKind::forbidden, "only an owner may register folders outside /mount; copy the table there");
  std::error_code error;
  const auto real = std::filesystem::canonical(std::filesystem::path(given), error);
  if (error || !std::filesystem::is_directory(real, error))
    return fail(ErrorKind::not_found, "the server has no folder '" + shown(given) + "'");
  const auto own = std::filesystem::canonical(std::filesystem::path(data), error);
  const auto apart = std::mismatch(own.begin(), own.end(), real.begin(), real.end());
  if (apart.first == own.end() || !real.has_relative_path())
    return fail(ErrorKind::invalid_argument,
                "'" + shown(given) + "' lies in the server's own data folder; use /mount/…");
  return real.string();
}

Status TableRegistry::start() {
  const std::unique_lock lock(mutex_);
  return database_.query(
      "SELECT id, organisation, name, url, user_id, created_at FROM table_registration", {}, [&](const Row& row) {
        RegisteredTable table{row.text(0), row.text(1), row.text(2), row.text(3), row.text(4), row.integer(5)};
        tables_.emplace(std::pair(table.organisation, table.name), std::move(table));
      });
}

Result<RegisteredTable> TableRegistry::add(RegisteredTable table) {
  FUSED_CHECK(check_table_name(table.name));
  if (of_organisation(table.organisation).size() >= kOfOrganisationMax)
    return fail(ErrorKind::conflict, "an organisation may have " + std::to_string(kOfOrganisationMax) + " tables");
  if (table.id.empty()) {
    table.id = new_uuid();
    table.created_at = std::chrono::floor<std::chrono::seconds>(clock_.now().time_since_epoch()).count();
  }
  FUSED_CHECK(database_.transaction([&]() -> Status {
    FUSED_TRY(database_.run("DELETE FROM table_registration WHERE organisation=? AND name=?",
                            {table.organisation, table.name}));
    FUSED_TRY(
        database_.run("INSERT INTO table_registration(id, organisation, name, url, user_id, created_at) "
                      "VALUES(?,?,?,?,?,?)",
                      {table.id, table.organisation, table.name, table.url, table.user_id, table.created_at}));
    return {};
  }));
  const std::unique_lock lock(mutex_);
  tables_.insert_or_assign(std::pair(table.organisation, table.name), table);
  return table;
}

Status TableRegistry::remove(std::string_view id) {
  FUSED_TRY(database_.run("DELETE FROM table_registration WHERE id=?", {id}));
  const std::unique_lock lock(mutex_);
  std::erase_if(tables_, [&](const auto& entry) { return entry.second.id == id; });
  return {};
}

std::optional<RegisteredTable> TableRegistry::find(std::string_view organisation, std::string_view name) const {
  const std::shared_lock lock(mutex_);
  const auto found = tables_.find(std::pair(std::string(organisation), std::string(name)));
  return found == tables_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<RegisteredTable> TableRegistry::by_id(std::string_view id) const {
  const std::shared_lock lock(mutex_);
  for (const auto& [key, table] : tables_)
    if (table.id == id) return table;
  return std::nullopt;
}

std::vector<RegisteredTable> TableRegistry::of_organisation(std::string_view organisation) const {
  std::vector<RegisteredTable> tables;
  const std::shared_lock lock(mutex_);
  for (const auto& [key, table] : tables_)
    if (key.first == organisation) tables.push_back(table);
  return tables;
}

std::vector<std::string> TableRegistry::outside_folders() const {
  std::set<std::string> folders;
  const std::shared_lock lock(mutex_);
  for (const auto& [key, table] : tables_)
    if (auto folder = table.outside_folder(); !folder.empty()) folders.insert(std::move(folder));
  return {folders.begin(), folders.end()};
}

}  // namespace fused
