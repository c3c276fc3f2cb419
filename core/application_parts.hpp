// How the parts of the server are joined: what each needs of another, as one function each.
#pragma once
#include <boost/json/object.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "auth/authenticator.hpp"
#include "auth/people.hpp"
#include "auth/run_tokens.hpp"
#include "auth/share_tokens.hpp"
#include "batch/batch_service.hpp"
#include "functions/function_store.hpp"
#include "functions/history_outbox.hpp"
#include "http/dispatcher.hpp"
#include "http/endpoints/run.hpp"
#include "http/endpoints/state_parts.hpp"
#include "http/parts.hpp"
#include "http/server.hpp"
#include "http/server_metrics.hpp"
#include "http/sessions.hpp"
#include "jobs/hook_outbox.hpp"
#include "logs/run_log.hpp"
#include "run/cached_run.hpp"
#include "run/run_registry.hpp"
#include "served_folder.hpp"
#include "storage/data_folder.hpp"
#include "storage/database.hpp"
#include "storage/state_thread.hpp"
#include "worker/pool.hpp"

namespace fused {

// Everything that is on disk, opened in order.
struct State {
  std::optional<DataFolder> data;
  std::optional<Database> database;
  std::optional<People> people;
  std::optional<ShareTokens> shares;
  std::optional<FunctionStore> saved;
  RunTokens run_tokens;
  std::optional<Authenticator> authenticator;
  StateThread thread;

  Status open(const Settings& settings, const Clock& clock);
  FunctionStore& functions() { return *saved; }
};

FunctionOwner owner_of(const State& state);
std::string owner_token(const State& state);  // of DIR/token
// On the log: what closes functions in, what this machine refuses, and whether they have /mount.
void tell_isolation(const boost::json::object& report, const std::filesystem::path& mount);
PoolOptions pool_options(const Settings& settings, const DataFolder& data);
FunctionFinder function_finder(State& state);
void fill_state_parts(Parts& parts, State& state);
NestedHandler nested_handler(Dispatcher& dispatcher);
// Of our own Python beside the server: our environment, with these instead of what it says.
std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>>& variables);
HistoryOutboxOptions outbox_options(const Settings& settings, const DataFolder& data);
HookOutboxOptions hook_options(const Settings& settings);
// Without those of cache and history.
ServerFigures figures_of(const State& state, const Pool& pool, const RunService& runs, const RunLog& log);
boost::json::object health_of(const ServerFigures& figures);
ResultCacheOptions cache_options(const Settings& settings, const DataFolder& data);
EnvironmentDigest environment_of(const Settings& settings, const Clock& clock);
UseCheck use_check(State& state);
BatchServiceOptions batch_options(const Settings& settings, const DataFolder& data);
// Where the installed page files lie: fused/web beside fused/bin.
std::filesystem::path web_folder();

}  // namespace fused
