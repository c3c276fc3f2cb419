#include "storage/database.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>

#include "storage/file_descriptor.hpp"
#include "storage/watched_write.hpp"

namespace fused {
namespace {

constexpr std::uintmax_t kCheckedBytesMax = 256 << 20;
constexpr int kBusyMs = 2'000;  // a server that has just been killed may still be leaving

std::string_view column_text(sqlite3_stmt* statement, int column) {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
  return bytes == nullptr ? std::string_view() : std::string_view(bytes, sqlite3_column_bytes(statement, column));
}

}  // namespace

std::string Row::text(int column) const { return std::string(column_text(statement_, column)); }
std::int64_t Row::integer(int column) const { return sqlite3_column_int64(statement_, column); }
bool Row::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

std::string_view Database::sqlite_version() { return sqlite3_libversion(); }

Database::Database(Database&& other) noexcept { *this = std::move(other); }

Database& Database::operator=(Database&& other) noexcept {
  std::swap(connection_, other.connection_);
  std::swap(gate_, other.gate_);
  std::swap(statements_, other.statements_);
  return *this;
}

Database::~Database() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(connection_);
}

std::unexpected<Error> Database::failure(std::string_view what) {
  const int code = sqlite3_extended_errcode(connection_);
  const std::string message = "state.db: " + std::string(what) + ": " + sqlite3_errmsg(connection_);
  const std::string detail = "SQLite code " + std::to_string(code);
  switch (code & 0xff) {
    case SQLITE_FULL:
      return fail(ErrorKind::storage_full, message + "; free some space on the disk of the data folder", detail);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return fail(ErrorKind::conflict, message + "; another process has the file open: close it", detail);
    case SQLITE_NOTADB: return fail(ErrorKind::internal, message + "; restore state.db from a backup", detail);
    case SQLITE_CORRUPT:
      gate_->close(message);
      return fail(ErrorKind::internal, message + "; restore state.db from a backup", detail);
    case SQLITE_IOERR:
      gate_->close(message + " (" + detail + ")");
      return fail(ErrorKind::unavailable, message + "; the store is read-only until the server restarts", detail);
    default: return fail(ErrorKind::internal, message, detail);
  }
}

Result<Database> Database::open(const std::filesystem::path& file, WriteGate& gate) {
  // SQLite gives its -wal the mode of the main file, which its own creation would leave to the umask.
  const FileDescriptor made(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!made) return fail_errno("cannot open " + file.string(), errno);
  Database database;
  database.gate_ = &gate;
  constexpr int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE;
  if (sqlite3_open_v2(file.c_str(), &database.connection_, flags, nullptr) != SQLITE_OK)
    return database.failure("cannot open");
  sqlite3_busy_timeout(database.connection_, kBusyMs);
  FUSED_CHECK(
      database.script("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                      "PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;"));
  std::string mode;
  FUSED_CHECK(database.query("PRAGMA journal_mode", {}, [&](const Row& row) { mode = row.text(0); }));
  if (mode != "wal")
    return fail(ErrorKind::internal, file.string() + ": this file system takes no write-ahead log (journal mode is '" +
                                         mode + "'); put the data folder on a local disk");
  // Reads every page: for a few hundred MiB well under the second that a start may take.
  std::error_code unknown_size;
  if (std::filesystem::file_size(file, unknown_size) > kCheckedBytesMax) return database;
  std::string damage;
  FUSED_CHECK(database.query("PRAGMA quick_check(1)", {}, [&](const Row& row) { damage = row.text(0); }));
  if (damage != "ok")
    return fail(ErrorKind::internal, file.string() + " is damaged (" + damage + "); restore it from a backup");
  return database;
}

Result<sqlite3_stmt*> Database::begin_query(std::string_view sql, std::initializer_list<Value> values) {
  auto [entry, is_new] = statements_.try_emplace(std::string(sql), nullptr);
  if (is_new && sqlite3_prepare_v3(connection_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                   &entry->second, nullptr) != SQLITE_OK) {
    statements_.erase(entry);
    return failure("cannot prepare a statement");
  }
  sqlite3_stmt* statement = entry->second;
  sqlite3_reset(statement);
  int position = 0;
  for (const Value& value : values) {
    ++position;
    int code = SQLITE_OK;
    switch (value.kind_) {
      case Value::Kind::null: code = sqlite3_bind_null(statement, position); break;
      case Value::Kind::integer: code = sqlite3_bind_int64(statement, position, value.number_); break;
      case Value::Kind::text:
        code = sqlite3_bind_text64(statement, position, value.text_.data(), value.text_.size(), SQLITE_TRANSIENT,
                                   SQLITE_UTF8);
        break;
    }
    if (code != SQLITE_OK) return failure("cannot bind a value");
  }
  return statement;
}

Result<bool> Database::step(sqlite3_stmt* statement) {
  const int code = sqlite3_step(statement);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return false;
  }
  auto error = failure("statement failed");
  sqlite3_reset(statement);
  return error;
}

Result<std::int64_t> Database::run(std::string_view sql, std::initializer_list<Value> values) {
  FUSED_CHECK(gate_->check());
  FUSED_CHECK(query(sql, values, [](const Row&) {}));
  return sqlite3_changes64(connection_);
}

Status Database::script(const std::string& sql) {
  if (sqlite3_exec(connection_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return failure("script failed");
  return {};
}

Status Database::begin() {
  FUSED_CHECK(gate_->check());
  return script("BEGIN IMMEDIATE");
}

Status Database::commit() {
  const WatchedWrite watch("a commit of the state database");
  Status status = script("COMMIT");
  if (!status) undo();
  return status;
}

void Database::undo() {
  // SQLite has already rolled back after some errors; a second time is then refused, which is what we want.
  if (sqlite3_get_autocommit(connection_) == 0) (void)script("ROLLBACK");
}

}  // namespace fused
