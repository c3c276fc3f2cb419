// The tables of state.db, as numbered steps. A step that has been released is never edited; a change is a new step.
#pragma once
#include <string_view>

#include "base/result.hpp"
#include "storage/database.hpp"

namespace fused {

int newest_schema();
// Brings the database to `target` (by default the newest), each step in a transaction of its own with its number. A
// database with a higher number is refused: a newer server wrote it.
Status migrate(Database& database, int target = newest_schema());

}  // namespace fused
