#include "functions/function_store.hpp"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <mutex>

#include "base/ids.hpp"
#include "functions/function_json.hpp"
#include "storage/durable_write.hpp"

namespace fused {
namespace json = boost::json;
namespace {

std::int64_t seconds_of(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}

// Colons are awkward in file names and object keys: 2026-11-21T10-15-30.123456Z
std::string file_time(WallTime time) {
  std::string text = format_utc(time);
  std::ranges::replace(text, ':', '-');
  return text;
}

std::string folder_of(std::string_view path) { return std::string(path.substr(0, path.rfind('/'))); }

SharedFunction source_of(const SavedFunction& function, FunctionSource source) {
  source.name = function.slug;
  source.id = function.id;
  source.revision = function.revision;
  source.collection_name = function.collection_name;
  source.owner_id = function.owner.id;
  source.owner_email = function.owner.email;
  source.owner_username = function.owner.username;
  source.organisation = function.owner.organisation;
  return std::make_shared<const FunctionSource>(std::move(source));
}

std::unexpected<Error> not_there() { return fail(ErrorKind::not_found, "there is no such function"); }

std::unexpected<Error> name_taken(std::string_view slug, const SavedFunction& by) {
  if (by.is_from_folder())
    return fail(ErrorKind::conflict, "'" + std::string(slug) + "' is served from the file " + by.file +
                                         "; change that file, or save under another name");
  return fail(ErrorKind::conflict, "there is a function '" + std::string(slug) + "' already (id " + by.id +
                                       "); save over it by its id, or choose another name");
}

}  // namespace

FunctionStore::FunctionStore(Database& database, const DataFolder& data, const Clock& clock)
    : database_(database), data_(data), clock_(clock) {}

Status FunctionStore::start() {
  Status parsed;
  FUSED_CHECK(database_.query(
      "SELECT f.id, f.slug, f.collection_name, f.udf_type, f.udf_body, f.allow_public_read, f.allow_public_list,"
      " f.revision, f.created_at, f.updated_at, u.id, u.email, u.username, f.organisation"
      " FROM function f JOIN user u ON u.id = f.owner_id",
      {}, [&](const Row& row) {
        auto function = std::make_shared<SavedFunction>();
        function->id = row.text(0);
        function->slug = row.text(1);
        function->collection_name = row.text(2);
        function->udf_type = row.text(3);
        function->udf_body = std::make_shared<const std::string>(row.text(4));
        function->allow_public_read = row.integer(5) != 0;
        function->allow_public_list = row.integer(6) != 0;
        function->revision = row.text(7);
        function->created_at = row.integer(8);
        function->updated_at = row.integer(9);
        function->owner = {row.text(10), row.text(11), row.text(12), row.text(13)};
        auto source = function_of_text(*function->udf_body);
        if (!source) {
          parsed = std::unexpected(source.error().within("function " + function->id + " in state.db cannot be read"));
          return;
        }
        function->source = source_of(*function, *std::move(source));
        keep(std::move(function));
      }));
  return parsed;
}

Status FunctionStore::check_draft(const FunctionDraft& draft) const {
  FUSED_CHECK(check_function_name(draft.slug));
  if (draft.collection_name != kCollection)
    return fail(ErrorKind::not_found, "there is no collection '" + shown(draft.collection_name) +
                                          "'; the collection is '" + std::string(kCollection) + "'");
  if (draft.udf_type != "auto" && draft.udf_type != "app")
    return fail(ErrorKind::invalid_argument,
                "udf_type '" + shown(draft.udf_type) + "' is unknown; it is 'auto' or 'app'");
  if (draft.udf_body.size() > kBodyBytesMax)
    return fail(ErrorKind::too_large, "the function '" + draft.slug + "' has " + std::to_string(draft.udf_body.size()) +
                                          " bytes, allowed are " + std::to_string(kBodyBytesMax));
  if (draft.message.size() > kMessageBytesMax)
    return fail(ErrorKind::invalid_argument, "the message of a save has " + std::to_string(draft.message.size()) +
                                                 " bytes, allowed are " + std::to_string(kMessageBytesMax));
  return {};
}

Result<SharedSaved> FunctionStore::save_new(const FunctionOwner& owner, const FunctionDraft& draft,
                                            std::string_view saved_by) {
  FUSED_CHECK(check_draft(draft));
  FunctionSource source = FUSED_TRY(function_of_text(draft.udf_body));
  if (const auto taken = by_email(owner.email, draft.collection_name, draft.slug))
    return name_taken(draft.slug, *taken);
  if (count() >= kFunctionsMax)
    return fail(ErrorKind::conflict, "there are " + std::to_string(kFunctionsMax) + " functions, more are not kept");
  SavedFunction function;
  function.id = new_uuid();
  function.slug = draft.slug;
  function.collection_name = draft.collection_name;
  function.udf_type = draft.udf_type;
  function.allow_public_read = draft.allow_public_read;
  function.allow_public_list = draft.allow_public_list;
  function.owner = owner;
  function.revision = new_uuid();
  function.created_at = function.updated_at = seconds_of(clock_.now());
  function.udf_body = std::make_shared<const std::string>(draft.udf_body);
  function.source = source_of(function, std::move(source));
  return write(std::move(function), 1, saved_by, draft.message);
}

Result<SharedSaved> FunctionStore::save_over(std::string_view id, const FunctionDraft& draft,
                                             std::string_view saved_by) {
  const SharedSaved before = by_id(id);
  if (!before) return not_there();
  if (before->is_from_folder()) return name_taken(before->slug, *before);
  FUSED_CHECK(check_draft(draft));
  FunctionSource source = FUSED_TRY(function_of_text(draft.udf_body));
  if (draft.slug != before->slug || draft.collection_name != before->collection_name)
    if (const auto taken = by_email(before->owner.email, draft.collection_name, draft.slug))
      return name_taken(draft.slug, *taken);
  std::int64_t newest = 0;
  FUSED_CHECK(database_.query("SELECT max(number) FROM revision WHERE function_id = ?", {id},
                              [&](const Row& row) { newest = row.integer(0); }));
  SavedFunction function = *before;
  function.slug = draft.slug;
  function.collection_name = draft.collection_name;
  function.udf_type = draft.udf_type;
  function.allow_public_read = draft.allow_public_read;
  function.allow_public_list = draft.allow_public_list;
  function.revision = new_uuid();
  function.updated_at = seconds_of(clock_.now());
  function.udf_body = std::make_shared<const std::string>(draft.udf_body);
  function.source = source_of(function, std::move(source));
  return write(std::move(function), newest + 1, saved_by, draft.message);
}

// The history file goes first: a save that dies between the two was acknowledged to nobody, and the index never names a
// file that is not there.
Result<SharedSaved> FunctionStore::write(SavedFunction function, std::int64_t number, std::string_view saved_by,
                                         std::string_view message) {
  const WallTime now = clock_.now();
  const std::string path = DataFolder::history(function.owner.organisation) + "/" + function.id + "/" +
                           format_utc_date(now) + "/" + function.revision + "/" + file_time(now) + ".json";
  FUSED_CHECK(write_history(function, number, saved_by, message, path));
  const Status indexed = database_.transaction([&]() -> Status {
    FUSED_CHECK(database_.run(
        "INSERT INTO function (id, organisation, owner_id, collection_name, slug, udf_type, udf_body, "
        "allow_public_read,"
        " allow_public_list, revision, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET collection_name = excluded.collection_name, slug = excluded.slug,"
        " udf_type = excluded.udf_type, udf_body = excluded.udf_body, allow_public_read = excluded.allow_public_read,"
        " allow_public_list = excluded.allow_public_list, revision = excluded.revision, updated_at = "
        "excluded.updated_at",
        {function.id, function.owner.organisation, function.owner.id, function.collection_name, function.slug,
         function.udf_type, *function.udf_body, function.allow_public_read, function.allow_public_list,
         function.revision, function.created_at, function.updated_at}));
    FUSED_CHECK(
        database_.run("INSERT INTO revision (id, function_id, number, slug, code_hash, saved_by, saved_at, path,"
                      " message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                      {function.revision, function.id, number, function.slug, function.source->code_hash, saved_by,
                       function.updated_at, path, message}));
    FUSED_CHECK(database_.run("INSERT INTO history_outbox (path) VALUES (?)", {path}));
    return {};
  });
  if (!indexed) {
    (void)data_.files().remove(data_.gate(), path);
    return std::unexpected(indexed.error().within("cannot save '" + function.slug + "'"));
  }
  if (saved_) saved_(path);
  auto kept = std::make_shared<const SavedFunction>(std::move(function));
  keep(kept);
  return kept;
}

Status FunctionStore::write_history(const SavedFunction& function, std::int64_t number, std::string_view saved_by,
                                    std::string_view message, std::string_view path) {
  const json::object snapshot{{"udf_id", function.id},
                              {"revision_id", function.revision},
                              {"revision_number", number},
                              {"saved_at", format_utc(clock_.now())},
                              {"saved_by", saved_by},
                              {"message", message},
                              {"owner_email", function.owner.email},
                              {"slug", function.slug},
                              {"collection_name", function.collection_name},
                              {"udf_type", function.udf_type},
                              {"code_hash", function.source->code_hash},
                              {"code", function.source->code},
                              {"udf_body", *function.udf_body}};
  const FileDescriptor folder = FUSED_TRY(data_.files().make_folders(data_.gate(), folder_of(path)));
  return durable_write_staged(data_.gate(), data_.files().root_fd(), folder.get(), path.substr(path.rfind('/') + 1),
                              json::serialize(snapshot));
}

void FunctionStore::keep(SharedSaved function) {
  const std::unique_lock lock(mutex_);
  auto& entry = by_id_[function->id];
  if (entry) forget_name(*entry);
  entry = function;
  by_slug_.emplace(function->slug, std::move(function));
}

void FunctionStore::forget_name(const SavedFunction& function) {
  const auto [begin, end] = by_slug_.equal_range(function.slug);
  const auto found = std::find_if(begin, end, [&](const auto& named) { return named.second->id == function.id; });
  if (found != end) by_slug_.erase(found);
}

Result<std::vector<std::string>> FunctionStore::unsent_history() {
  std::vector<std::string> paths;
  FUSED_CHECK(database_.query("SELECT path FROM history_outbox ORDER BY path", {},
                              [&](const Row& row) { paths.push_back(row.text(0)); }));
  return paths;
}

Status FunctionStore::history_sent(const std::vector<std::string>& paths) {
  return database_.transaction([&]() -> Status {
    for (const auto& path : paths) FUSED_CHECK(database_.run("DELETE FROM history_outbox WHERE path = ?", {path}));
    return {};
  });
}

Status FunctionStore::remove(std::string_view id) {
  const SharedSaved function = by_id(id);
  if (!function) return not_there();
  if (function->is_from_folder())
    return fail(ErrorKind::conflict,
                "'" + function->slug + "' is served from the file " + function->file + "; remove that file");
  FUSED_CHECK(database_.run("DELETE FROM function WHERE id = ?", {id}));
  const std::unique_lock lock(mutex_);
  forget_name(*function);
  by_id_.erase(function->id);
  return {};
}

}  // namespace fused
