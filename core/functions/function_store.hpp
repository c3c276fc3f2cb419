// Saved functions and what they were. Kept in state.db and, one file for each save, in the history of the S3 home:
// s3/fused-users/<organisation>/fused-system/history/{udf_uuid}/{YYYY-MM-DD}/{revision_uuid}/{timestamp}.json
// Functions of a served folder are listed and found like saved ones, but live in memory only.
//
// Reads: any thread, answered from memory. Writes (save_*, remove, revisions): the state thread; they are on disk when
// they return. put_folder_function and remove_folder_function: any one thread.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/result.hpp"
#include "functions/function_source.hpp"
#include "storage/data_folder.hpp"
#include "storage/database.hpp"

namespace fused {

struct FunctionOwner {
  std::string id;
  std::string email;
  std::string username;
  std::string organisation;
};

struct SavedFunction {
  std::string id;
  std::string slug;
  std::string collection_name = "default";
  std::string udf_type = "auto";  // "auto" or "app"
  bool allow_public_read = false;
  bool allow_public_list = false;
  FunctionOwner owner;
  std::string revision;         // the newest one's id
  std::int64_t created_at = 0;  // seconds since 1970
  std::int64_t updated_at = 0;
  std::shared_ptr<const std::string> udf_body;  // JSON text, as it came
  SharedFunction source;                        // parsed from it
  std::string file;                             // of a served folder: its path; "" for a saved one

  bool is_from_folder() const { return !file.empty(); }
};
using SharedSaved = std::shared_ptr<const SavedFunction>;

// What a caller wants saved.
struct FunctionDraft {
  std::string slug;
  std::string collection_name = "default";
  std::string udf_type = "auto";
  std::string udf_body;
  bool allow_public_read = false;
  bool allow_public_list = false;
  std::string message;  // what was changed, for people; kept with the revision
};

struct Revision {
  std::string id;
  std::int64_t number = 0;  // 1 is the first save
  std::string slug;
  std::string code_hash;
  std::string saved_by;  // e-mail
  std::int64_t saved_at = 0;
  std::string path;     // of its history file, relative to DIR
  std::string message;  // of who saved it, else ""
};

struct FunctionFilter {
  std::string owner_id;         // "": everybody's
  std::string organisation;     // "": every one
  std::string udf_type;         // "app", "udf" (all that are no app), "": all
  std::string collection_name;  // "": all
  std::size_t skip = 0;
  std::size_t limit = 300;
};

class FunctionStore {
 public:
  static constexpr std::size_t kBodyBytesMax = 16 << 20;  // of one udf_body
  static constexpr std::size_t kFunctionsMax = 100'000;   // of the server
  static constexpr std::size_t kMessageBytesMax = 4'000;  // of a save
  static constexpr std::size_t kRevisionsMax = 1'000'000;
  static constexpr std::string_view kCollection = "default";

  FunctionStore(Database& database, const DataFolder& data, const Clock& clock);
  Status start();  // reads all; the owners' table (auth/people.hpp) is filled already

  // conflict when the owner has one of that name in that collection, or serves one from a folder.
  Result<SharedSaved> save_new(const FunctionOwner& owner, const FunctionDraft& draft, std::string_view saved_by);
  // Under a new name, too. not_found; conflict when the new name is taken or the function comes from a folder.
  Result<SharedSaved> save_over(std::string_view id, const FunctionDraft& draft, std::string_view saved_by);
  // Its history stays. Its share tokens are to be revoked first (ShareTokens::revoke_of_function).
  Status remove(std::string_view id);

  // Newest first; of a function that was removed, and of one of a folder, none.
  Result<std::vector<Revision>> revisions(std::string_view function_id, std::size_t skip = 0,
                                          std::size_t limit = kRevisionsMax);
  // By its id or its number; not_found.
  Result<Revision> revision(std::string_view function_id, std::string_view id_or_number);
  // The text of the history file of one. internal names the file when it is gone or does not hold what was saved.
  Result<std::string> revision_text(std::string_view function_id, std::string_view id_or_number);
  // One as it can be run: code and what belongs to it as they were, name and owner as they are now.
  Result<SharedFunction> revision_source(std::string_view function_id, std::string_view id_or_number);
  // What saves one again as the newest (save_over): its function's name and settings stay as they are now.
  Result<FunctionDraft> revision_draft(std::string_view function_id, std::string_view id_or_number);

  // History files that are not in the object store yet (history_outbox.hpp), relative to DIR.
  Result<std::vector<std::string>> unsent_history();
  Status history_sent(const std::vector<std::string>& paths);
  void set_saved(std::function<void(const std::string& path)> saved) { saved_ = std::move(saved); }

  // Null when there is none. A function of a folder goes before a saved one of the same name.
  SharedSaved by_id(std::string_view id) const;
  SharedSaved by_email(std::string_view email, std::string_view collection, std::string_view slug) const;
  SharedSaved by_handle(std::string_view organisation, std::string_view username, std::string_view collection,
                        std::string_view slug) const;
  // Anybody's in the organisation: of several the one that was saved first.
  SharedSaved in_organisation(std::string_view organisation, std::string_view collection, std::string_view slug) const;
  // By name, then id.
  std::vector<SharedSaved> list(const FunctionFilter& filter) const;
  std::size_t count() const;

  // Adds or replaces; the id is made from owner and file, so that it is the same at the next start. `source` has name
  // (the slug), code and, where known, entrypoint, headers and parameters; owner and the rest are filled in. Gives the
  // id.
  Result<std::string> put_folder_function(const FunctionOwner& owner, FunctionSource source, std::string file);
  void remove_folder_function(std::string_view owner_id, std::string_view slug);

 private:
  Status check_draft(const FunctionDraft& draft) const;
  Result<SharedSaved> write(SavedFunction function, std::int64_t number, std::string_view saved_by,
                            std::string_view message);
  Status write_history(const SavedFunction& function, std::int64_t number, std::string_view saved_by,
                       std::string_view message, std::string_view path);
  void keep(SharedSaved function);
  template <class F>
  SharedSaved named(std::string_view collection, std::string_view slug, F&& owner_fits) const;
  void forget_name(const SavedFunction& function);  // under the lock

  Database& database_;
  const DataFolder& data_;
  const Clock& clock_;
  std::function<void(const std::string&)> saved_;  // told the history file of each save
  mutable std::shared_mutex mutex_;                // of everything below
  std::map<std::string, SharedSaved, std::less<>> by_id_;
  std::multimap<std::string, SharedSaved, std::less<>> by_slug_;
};

}  // namespace fused
