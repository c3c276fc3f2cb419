// What the HTTP room needs of the others; main.cpp fills it. Everything is called on the server's one thread.
#pragma once
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "auth/actor.hpp"
#include "base/clock.hpp"
#include "base/settings.hpp"

namespace prometheus {
class Registry;
}

namespace fused {

class Sessions;
struct RunParts;
struct StateParts;
struct TableParts;
struct CacheParts;
struct JobParts;
struct BatchParts;
struct ScheduleParts;
struct AttemptParts;
struct ServerFigures;

struct Parts {
  const Settings* settings = nullptr;
  const Clock* clock = nullptr;
  std::string version;
  std::filesystem::path spool_folder;  // for large bodies; empty: they stay in memory

  RunParts* run = nullptr;             // null where a test has no rows that run functions
  StateParts* state = nullptr;         // null where a test has no rows of what is kept
  TableParts* tables = nullptr;        // null where a test has no tables
  CacheParts* cache = nullptr;         // null where a test has no result cache
  JobParts* jobs = nullptr;            // null where a test has no jobs
  BatchParts* batches = nullptr;       // null where a test has no batches
  ScheduleParts* schedules = nullptr;  // null where a test has no schedules
  AttemptParts* attempts = nullptr;    // null where a test has no jobs on other machines

  // The value of an `Authorization` header → who that is; nobody for unknown, revoked, expired and malformed alike.
  std::function<Actor(std::string_view authorization)> authenticate;
  // What /health adds for an actor with a token: isolation, workers, queue, disk, sqlite_version, …
  std::function<boost::json::object()> health;
  // Functions that the actor may see, for the page at `/`: [{"name","url","description"}, …].
  std::function<boost::json::array(const Actor&)> list_functions;
  // What the other rooms have counted, for /metrics; null where a test has none.
  std::function<ServerFigures()> figures;
  prometheus::Registry* metrics = nullptr;  // parts add their families to it; /metrics prints it
  Sessions* sessions = nullptr;             // of the page at `/` (http/sessions.hpp)
};

}  // namespace fused
