// DIR/state.db: one SQLite connection, used on one thread only (storage/state_thread.hpp). It holds the file
// exclusively, so that no other process can write or checkpoint it: SQLite before 3.51.3 may lose commits when two
// connections do. Everything committed is on disk (WAL, synchronous=FULL) before commit() returns.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/result.hpp"
#include "storage/write_gate.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace fused {

// One row's columns, valid until the next row.
class Row {
 public:
  explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
  std::string text(int column) const;      // "" for NULL
  std::int64_t integer(int column) const;  // 0 for NULL
  bool is_null(int column) const;

 private:
  sqlite3_stmt* statement_;
};

// A value to bind: text, whole number or NULL.
class Value {
 public:
  Value(std::string_view text) : kind_(Kind::text), text_(text) {}
  Value(const std::string& text) : kind_(Kind::text), text_(text) {}
  Value(const char* text) : kind_(Kind::text), text_(text) {}
  Value(std::int64_t number) : kind_(Kind::integer), number_(number) {}
  Value(int number) : kind_(Kind::integer), number_(number) {}
  Value(bool yes) : kind_(Kind::integer), number_(yes ? 1 : 0) {}
  Value(std::nullptr_t) {}

 private:
  friend class Database;
  enum class Kind { null, text, integer } kind_ = Kind::null;
  std::string_view text_;
  std::int64_t number_ = 0;
};

class Database {
 public:
  // Creates the file (mode 0600) when it is missing. Refused with what to do: a file that is not a database, one that
  // is damaged, one that another process holds. The gate is closed by I/O errors and damage.
  static Result<Database> open(const std::filesystem::path& file, WriteGate& gate);
  Database(Database&&) noexcept;
  Database& operator=(Database&&) noexcept;
  ~Database();

  // One statement, prepared once and kept. `values` are bound in order. Gives the number of rows changed.
  Result<std::int64_t> run(std::string_view sql, std::initializer_list<Value> values = {});
  // `row` is called for each row.
  template <class F>
  Status query(std::string_view sql, std::initializer_list<Value> values, F&& row) {
    sqlite3_stmt* statement = FUSED_TRY(begin_query(sql, values));
    for (;;) {
      const bool more = FUSED_TRY(step(statement));
      if (!more) break;
      row(Row(statement));
    }
    return {};
  }
  // Several statements without values or results (migrations).
  Status script(const std::string& sql);
  // `work` (returning Status) in one transaction: committed when it succeeds, undone when it fails.
  template <class F>
  Status transaction(F&& work) {
    FUSED_CHECK(begin());
    if (Status status = work(); !status) {
      undo();
      return status;
    }
    return commit();
  }

  static std::string_view sqlite_version();  // for /health

 private:
  Database() = default;
  Result<sqlite3_stmt*> begin_query(std::string_view sql, std::initializer_list<Value> values);
  Result<bool> step(sqlite3_stmt* statement);  // false: done, and the statement is reset
  Status begin();
  Status commit();
  void undo();
  std::unexpected<Error> failure(std::string_view what);

  sqlite3* connection_ = nullptr;
  WriteGate* gate_ = nullptr;
  std::unordered_map<std::string, sqlite3_stmt*> statements_;
};

}  // namespace fused
