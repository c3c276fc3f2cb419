// Questions about tables as endpoints ask them: versions and tiles are remembered, the rest goes to a process.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/completion.hpp"
#include "geo/tile.hpp"
#include "tiles/table_processes.hpp"
#include "tiles/table_registry.hpp"
#include "tiles/tile_cache.hpp"

namespace fused {

struct TableFigures {
  std::uint64_t tiles_made = 0, tiles_cached = 0, tiles_joined = 0, tiles_failed = 0;  // answers
  std::uint64_t reads = 0, reads_failed = 0;                                           // rows
  std::uint64_t processes_started = 0;
  std::size_t cache_bytes = 0;
};

// What a caller may ask of rows; texts are passed on as they came and checked by the process.
struct RowsAsked {
  std::optional<Box> bounds;
  std::vector<std::string> columns;
  std::string where;
  std::string format = "geojson";  // geojson | json | parquet | arrow
  std::optional<std::int64_t> limit;
};

class TableService {
 public:
  static constexpr std::size_t kTileCacheBytes = 128 << 20;
  static constexpr std::chrono::seconds kVersionBelieved{2};

  TableService(boost::asio::io_context& io, TableRegistry& registry, TableProcessesOptions options);

  boost::asio::awaitable<Result<TableAnswer>> info(RegisteredTable table);
  boost::asio::awaitable<Result<TableAnswer>> rows(RegisteredTable table, RowsAsked asked,
                                                   std::shared_ptr<const bool> gone);
  struct Tile {
    CachedTile tile;
    std::string version;
    bool cached = false;
  };
  // Equal tiles that are asked for at the same time are made once.
  boost::asio::awaitable<Result<Tile>> tile(RegisteredTable table, TileId id, std::vector<std::string> columns,
                                            std::string where, std::shared_ptr<const bool> gone);

  TableFigures figures() const;

  // After the registry has changed.
  void registry_changed() { processes_.set_folders(registry_.outside_folders()); }
  void stop() { processes_.stop(); }
  TableRegistry& registry() { return registry_; }

 private:
  struct Known {
    std::string version;
    std::chrono::steady_clock::time_point seen;
  };
  // A tile that is being made, and those who wait for it.
  struct Flight {
    std::vector<std::shared_ptr<Completion<bool>>> waiting;
    std::optional<Result<Tile>> outcome;  // none: whoever asked went away before it was made
  };
  boost::asio::awaitable<Result<Tile>> make_tile(RegisteredTable table, std::string question, std::string key,
                                                 std::shared_ptr<const bool> gone);
  void learn(const RegisteredTable& table, const TableAnswer& answer);
  boost::asio::awaitable<Result<std::string>> version(const RegisteredTable& table);

  TableRegistry& registry_;
  TableProcesses processes_;
  TileCache cache_{kTileCacheBytes};
  std::map<std::string, Known> versions_;  // by the id of the registration
  std::map<std::string, std::shared_ptr<Flight>> flights_;
  TableFigures figures_;
};

}  // namespace fused
